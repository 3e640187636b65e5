package runs

import (
	"fmt"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestStateOfARun(t *testing.T) {
	// Each 100 s; the outage before counts for nothing.
	r := Run{FirstAt: at(-100_000), Progress: Progress{Reports: 11, Reported: at(1000)}, Leader: Leader{Interval: 100 * time.Second}}
	for name, test := range map[string]struct {
		seconds int
		halted  bool
		want    string
	}{
		"reports": {1000, false, Running}, "is due": {1290, false, Running}, "is late": {1310, false, Silent}, "halted": {1000, true, Halted},
	} {
		r.Halted = test.halted
		if got := r.State(at(test.seconds)); got != test.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A run whose seeds Kasmina has taken out of the output must not look like any other.
func TestEmergencyOfARunIsItsState(t *testing.T) {
	packet := func(source string, seconds int, level string) Message {
		m := packetOf("r", "", seconds)
		p := m.Payload.(*leyline.TelemetryPacket)
		p.SourceSubsystem, p.PacketId = source, fmt.Sprint(source, seconds)
		if level != "" {
			p.SystemHealth.Indicators["emergency"], p.SystemHealth.Indicators["emergency_reason"] = "EMERGENCY_LEVEL_"+level, "heat"
		}
		return m
	}
	report := reported("r", 1, leyline.SeedLifecycleStage_SEED_STAGE_TRAINING, 0.5)
	for name, test := range map[string]struct {
		told    []Message
		level   string
		seconds int
		want    string
	}{
		"none":                         {[]Message{packet("kasmina", 2, "")}, "", 3, Running},
		"conservative":                 {[]Message{packet("kasmina", 2, "CONSERVATIVE")}, "conservative", 3, Conservative},
		"halt that nobody has obeyed":  {[]Message{packet("kasmina", 2, "HALT")}, "halt", 3, Conservative},
		"silent besides":               {[]Message{packet("kasmina", 2, "CONSERVATIVE")}, "conservative", 3000, Silent},
		"lifted":                       {[]Message{packet("kasmina", 2, "CONSERVATIVE"), packet("kasmina", 3, "")}, "", 3, Running},
		"an older packet that is late": {[]Message{packet("kasmina", 3, "CONSERVATIVE"), packet("kasmina", 2, "")}, "conservative", 3, Conservative},
		"of another part":              {[]Message{packet("kasmina", 2, "CONSERVATIVE"), packet("tamiyo", 3, "")}, "conservative", 3, Conservative},
	} {
		b := tell(report)
		for _, m := range test.told {
			b.Apply([]Message{m})
		}
		r := b.Runs["r"]
		if got := r.State(at(test.seconds)); got != test.want || r.Held != test.level {
			t.Errorf("%s: %s, emergency %+v", name, got, r.Emergency)
		}
		if reason := r.HeldFor; (reason == "heat") != (test.level != "") {
			t.Errorf("%s: because of %q", name, reason)
		}
	}
}
