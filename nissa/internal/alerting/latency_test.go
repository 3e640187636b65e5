package alerting_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/telemetry"
)

// An objective counts answers: one that was slow burns no budget of many, however often it is repeated,
// and many slow ones do whatever the last one took.
func TestTheLatencyOfKernelsIsCountedByAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answers, late float64 // each ten seconds
		lastMS        float64
		fires         string
	}{
		"one slow answer, and no more":    {0, 0, 80, ""},
		"slow answers, the last one fast": {1000, 999, 5, "kernel_latency"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := shipped(t)
				answers, late := 0.0, 0.0
				tell := func(more, moreLate, lastMS float64) {
					answers, late = answers+more, late+moreLate
					d.Observe(telemetry.New("weatherlight", "p").Metric("urza.prefetch.answers", answers, "count").
						Metric("urza.prefetch.answers_late", late, "count").Metric("urza.prefetch.latency_ms", lastMS, "ms").Build())
					time.Sleep(10 * time.Second)
				}
				for range 6 * 60 {
					tell(10, 0, 5)
				}
				tell(1, 1, 80)
				for range 6 * 60 {
					tell(c.answers, c.late, c.lastMS)
				}
				if got := d.firing(); got != c.fires {
					t.Errorf("fires %q, wanted %q", got, c.fires)
				}
				d.stop()
			})
		})
	}
}
