package weatherlight

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/trainer"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// leave changes the record of a garden's run as another instance does that dies before
// it has published a packet.
func (g *garden) leave() {
	g.t.Helper()
	packet, err := proto.Marshal(telemetry.New("kasmina", "kasmina").Build())
	if err != nil {
		g.t.Fatal(err)
	}
	pending, err := json.Marshal([]map[string]any{{"type": "esper.leyline.v1.TelemetryPacket", "payload": packet}})
	if err != nil {
		g.t.Fatal(err)
	}
	records := connect(g.t, g.BusURL(), "dying").Records(trainer.Stream)
	key := oona.RecordKey{Part: control.PartKasmina, Run: gardenRun}
	stored, err := records.Load(g.t.Context(), key)
	if err != nil {
		g.t.Fatal(err)
	}
	write := oona.RecordWrite{Key: key, Version: stored.Version, Value: stored.Value, Pending: pending}
	if _, err := records.Save(g.t.Context(), write); err != nil {
		g.t.Fatal(err)
	}
}

func TestWhatInstancesDoToEachOthersRecordsIsCounted(t *testing.T) {
	g := newGarden(t, "BP002")
	counted := func() [2]float64 {
		series := scrape(t, g.Service)
		return [2]float64{series["kasmina_record_conflicts_total"], series["kasmina_record_recovered_total"]}
	}
	if got := counted(); got != [2]float64{} {
		t.Errorf("alone, it counts %v conflicts and recovered messages", got)
	}
	reported := g.view().Kasmina.Trainer.Report
	g.leave()
	g.report()
	eventually(t, "the report is taken", func() bool { return g.view().Kasmina.Trainer.Report > reported })
	if got := counted(); got != [2]float64{1, 1} {
		t.Errorf("after one conflict and one message that was left, it counts %v", got)
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
