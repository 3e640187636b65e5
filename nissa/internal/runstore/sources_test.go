package runstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

func TestSourcesAreBounded(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 5 {
			var told []runs.Message
			for i := range 500 {
				told = append(told, packet(fmt.Sprint("source-", 500*n+i), 1))
			}
			put(t, s, told...)
		}
		put(t, s, packet("source-0", 2)) // one that is known is heard all the same
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		if err != nil || len(sources) != mostSources {
			t.Fatalf("%d sources, %v", len(sources), err)
		}
	})
}

// Who tells of alarms names them: those that were told of last are kept.
func TestAlarmsAreBounded(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for n := range 30 {
			var told []runs.Message
			for i := range 50 {
				m := packet("weatherlight", 50*n+i+1)
				m.Payload.(*leyline.TelemetryPacket).Events = []*leyline.TelemetryEvent{
					{Description: "alarm", Attributes: map[string]string{"alarm": fmt.Sprint("alarm-", 50*n+i)}}}
				told = append(told, m)
			}
			put(t, s, told...)
		}
		n, err := first(list(t.Context(), s.db, scanInteger, "SELECT COUNT(*) FROM nissa_alarms"))
		if err != nil || n != mostAlarms {
			t.Errorf("%d alarms, %v", n, err)
		}
		if alarms, err := s.Alarms(t.Context()); err != nil || alarms[0].Name != "alarm-1499" {
			t.Errorf("%+v, %v", alarms[0], err)
		}
	})
}

// What a source tells of a run changes nothing of its figures, nor does a packet that is late.
func TestFiguresOfASourceAreItsNewest(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		for _, m := range []runs.Message{packet("kasmina", 1), seedPacket("run", "s", "TRAINING", 9), packet("kasmina", 5), packet("kasmina", 3)} {
			put(t, s, m)
		}
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		if err != nil || len(sources) != 1 {
			t.Fatalf("%+v, %v", sources, err)
		}
		if k := sources[0]; k.Figures[0].Value != 5 || !k.FiguresAt.Equal(at(5)) || !k.LastAt.Equal(at(9)) || k.Packets != 4 || !k.FirstAt.Equal(at(1)) {
			t.Errorf("%+v", k)
		}
	})
}

// What was stored before figures had a time of their own is shown on, until there is newer.
func TestFiguresOfAnOlderStoreAreKept(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		record := fmt.Sprintf(`{"name":"kasmina","first_at":%[1]q,"last_at":%[1]q,"packets":7,"health":"healthy","figures":[{"name":"m","value":5}]}`,
			at(5).Format(time.RFC3339Nano))
		for _, statement := range []string{
			"ALTER TABLE nissa_sources DROP COLUMN figures_at", "DELETE FROM nissa_schema_version WHERE version_id = 2",
			fmt.Sprintf("INSERT INTO nissa_sources VALUES ('kasmina', %d, %d, 7, '%s')", at(1).UnixMicro(), at(5).UnixMicro(), record),
		} {
			if _, err := s.db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		s = open(t, Config{URL: url})
		for _, step := range []struct {
			told runs.Message
			want runs.Number
		}{{seedPacket("run", "s", "TRAINING", 9), 5}, {packet("kasmina", 4), 5}, {packet("kasmina", 8), 8}} {
			put(t, s, step.told)
			sources, _, err := s.Sources(t.Context(), "", "", 10_000)
			if err != nil || len(sources) != 1 || sources[0].Figures[0].Value != step.want {
				t.Errorf("%+v, %v; want %v", sources, err, step.want)
			}
		}
	})
}

// Sources that are silent do not keep a new one from being shown.
func TestSilentSourcesMakeRoomForNewOnes(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, url string) {
		s := open(t, Config{URL: url})
		var told []runs.Message
		for i := range mostSources {
			told = append(told, packet(fmt.Sprint("flood-", i), 1))
		}
		put(t, s, told...)
		put(t, s, packet("steady", 2), packet("flood-0", 890)) // there is no room yet
		late := int(silentSource.Seconds()) + 5
		put(t, s, packet("honest", late), packet("honest-2", late))
		sources, _, err := s.Sources(t.Context(), "", "", 10_000)
		names := map[string]bool{}
		for _, source := range sources {
			names[source.Name] = true
		}
		if err != nil || len(names) != mostSources || !names["honest"] || !names["honest-2"] || !names["flood-0"] || names["steady"] {
			t.Errorf("%d sources, honest %t %t, flood-0 %t, steady %t, %v",
				len(names), names["honest"], names["honest-2"], names["flood-0"], names["steady"], err)
		}
	})
}
