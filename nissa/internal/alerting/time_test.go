package alerting_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/telemetry"
)

// states are those of the alerts by rule.
func (d *desk) states() map[string]alert.State {
	states := map[string]alert.State{}
	for _, a := range d.Alerts() {
		states[a.Rule] = a.State
	}
	return states
}

// Times pass as the rules say: nobody need say anything for a hold time, a silence or a quiet time
// to be over.
func TestTimesPassByThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := start(t, `rules:
- {name: held, summary: s, severity: info, metric: heat, when: value > 9, for: 5m}
- {name: silent, summary: s, severity: info, metric: heat, absent: 20m}
- {name: event, summary: s, severity: info, event: e, quiet: 10m}
`, nil, nil)
		d.heat(t, 12, "a")
		d.Observe(telemetry.New("oven", "p").Event("e", warning).Build())
		for _, step := range []struct {
			after               time.Duration
			held, silent, event alert.State
		}{
			{4 * time.Minute, alert.Pending, "", alert.Firing},
			{6 * time.Minute, alert.Firing, "", alert.Firing},
			{11 * time.Minute, alert.Firing, "", alert.Resolved},
			{19 * time.Minute, alert.Firing, "", alert.Resolved},
			{21 * time.Minute, alert.Firing, alert.Firing, ""}, // what has ended is shown for ten minutes
		} {
			time.Sleep(step.after - time.Since(begun()))
			synctest.Wait()
			want := map[string]alert.State{"held": step.held, "silent": step.silent, "event": step.event}
			got := d.states()
			for name, state := range want {
				if got[name] != state {
					t.Errorf("after %s: %s is %q, wanted %q", step.after, name, got[name], state)
				}
			}
		}
		d.heat(t, 1, "a")
		if got := d.states(); got["held"] != alert.Resolved || got["silent"] != alert.Resolved {
			t.Errorf("heard again: %v", got)
		}
		d.stop()
	})
}

// begun is when every bubble begins.
func begun() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }
