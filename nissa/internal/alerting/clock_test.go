package alerting_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/telemetry"
)

// timely is a file with a rule of each kind that looks at a clock.
func timely(h *hook) string {
	return text(h) + `- {name: held, summary: s, severity: info, metric: held, when: value > 9, for: 300ms, receivers: hook}
- {name: rises, summary: s, severity: info, metric: c, when: 'increase("5m") >= 3', receivers: hook}
- {name: quiet_pulse, summary: s, severity: info, metric: pulse, absent: 300ms, receivers: hook}
`
}

// tells has a desk hear what begins and ends each of the alerts, and waits until the hook was told.
func (d *desk) tells(t *testing.T, h *hook, run string) {
	t.Helper()
	before := len(h.all())
	told := func(what string) {
		t.Helper()
		eventually(t, what, func() bool { return strings.Contains(h.all()[before:], what) })
	}
	d.heat(t, 12, run)
	told("firing hot " + run)
	d.heat(t, 1, run)
	told("resolved hot " + run)
	for _, value := range []float64{12, 1} {
		d.hear(t, telemetry.New("oven", "p").Metric("held", value, "").Build())
		told(map[float64]string{12: "firing held", 1: "resolved held"}[value])
	}
	for n := range 4 {
		d.hear(t, telemetry.New("oven-"+run, "p").Metric("c", float64(n), "").Build())
	}
	told("firing rises")
	d.hear(t, telemetry.New("oven", "p").Metric("pulse", 1, "").Build())
	told("firing quiet_pulse")
	d.hear(t, telemetry.New("oven", "p").Metric("pulse", 1, "").Build())
	told("resolved quiet_pulse")
}

// A clock that is set does not make who judges deaf or dumb.
func TestAJudgeWhoseClockIsSetBackStillTells(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	d := start(t, timely(h), openStore(t, sqliteURL(t)), nil)
	for i, ahead := range []time.Duration{0, -time.Hour, time.Hour, -100 * time.Hour, 0} {
		d.ahead.Store(int64(ahead))
		d.tells(t, h, fmt.Sprint(i))
	}
	silence, err := d.Silence(t.Context(), alert.Silence{Rule: "hot", Until: d.Now().Add(time.Hour), By: "ann"})
	if err != nil || len(d.Silences()) != 1 {
		t.Fatalf("silences %+v, error %v", d.Silences(), err)
	}
	d.ahead.Store(int64(-time.Hour))
	if err := d.EndSilence(t.Context(), silence.ID, "ann"); err != nil {
		t.Error(err)
	}
}

// The state is written by the clock of one and read by that of another, which is behind.
func TestHeirsWithASlowClockStillTell(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	judge, other := pair(t, timely(h), sqliteURL(t))
	judge.ahead.Store(int64(time.Hour))
	judge.tells(t, h, "a")
	judge.heat(t, 12, "b")
	eventually(t, "it is told", func() bool { return strings.Contains(h.all(), "firing hot b") })
	judge.kill()
	eventually(t, "another judges", func() bool { return other.judging(t) })
	other.heat(t, 1, "b")
	eventually(t, "its end is told", func() bool { return strings.Contains(h.all(), "resolved hot b") })
	other.tells(t, h, "c")
}
