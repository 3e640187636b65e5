package alerting_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
)

func TestScenario47_TheSecondBreachInARowIsToldToItsReceiver(t *testing.T) {
	h := newHook(t)
	d := start(t, quick+fmt.Sprintf(`
receivers: [{name: slack, url: %q}]
rules: [{name: latency, summary: s, severity: warning, metric: latency, when: value > 10, count: 2, receivers: slack}]
`, h.URL), nil, nil)
	for _, step := range []struct {
		value float64
		state alert.State
	}{{9, ""}, {11, alert.Pending}, {12, alert.Firing}} {
		d.play(play{source: "tolaria", metric: "latency", values: []float64{step.value}})
		if got := d.states()["latency"]; got != step.state {
			t.Errorf("after %v it is %q, want %q", step.value, got, step.state)
		}
	}
	h.hears(t, "firing latency")
}

func TestN4EpochsAreComparedWithThoseOfTheirRunAndNotWith18ms(t *testing.T) {
	d := shipped(t)
	epochs := func(run string, values ...float64) {
		d.play(play{source: "tolaria", metric: "tolaria.training.latency_ms", values: values, pairs: []string{"training_run_id", run}})
	}
	epochs("slow", slices.Repeat([]float64{2388}, 30)...)
	epochs("fast", slices.Repeat([]float64{4}, 30)...)
	epochs("fast", 17, 17, 17)
	if got := d.firing(); got != "" {
		t.Errorf("fires %q", got)
	}
	epochs("slow", 9000, 9000, 9000)
	if got := d.firing(); got != "training_latency_high" {
		t.Errorf("fires %q", got)
	}
}

// The count of violations never falls: what counts is how much it has grown of late.
func TestN5ThreeViolationsWithinAnHourAreAnAlertThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shipped(t)
		violations := func(value float64) string {
			d.play(play{source: "kasmina", metric: "kasmina.isolation.violations", values: []float64{value}})
			return d.firing()
		}
		for _, step := range []struct {
			after time.Duration
			value float64
			fires string
		}{
			{0, 5, ""}, {time.Minute, 7, ""}, {time.Minute, 8, "kasmina_isolation_violation"},
			{40 * time.Minute, 8, "kasmina_isolation_violation"}, {time.Hour, 8, ""}, {time.Hour, 10, ""},
		} {
			time.Sleep(step.after)
			if got := violations(step.value); got != step.fires {
				t.Errorf("at %s, of %v: fires %q, want %q", time.Since(begun()), step.value, got, step.fires)
			}
		}
		d.stop()
	})
}

// However long the epochs of a run are: it is told that all its reports have a violation, and that its
// epochs have become long.
func TestRulesFireForRunsWithLongEpochs(t *testing.T) {
	for _, epoch := range []time.Duration{time.Second, 3 * time.Minute, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			d := shipped(t)
			for n := range 40 {
				latency := epoch.Seconds() * 1000
				if n >= 20 {
					latency *= 3
				}
				d.play(play{source: "kasmina", metric: "kasmina.isolation.violations", values: []float64{float64(n)}})
				d.play(play{source: "tolaria", metric: "tolaria.training.latency_ms", values: []float64{latency}})
				if got := d.firing(); n == 23 && got != "kasmina_isolation_violation training_latency_high" {
					t.Errorf("epochs of %s: fires %q", epoch, got)
				}
				time.Sleep(epoch)
			}
			d.stop()
		})
	}
}

// No trainer says that its run is done: it is told once that it is silent.
func TestRunsThatAreDoneAreToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := shipped(t)
		d.play(play{source: "kasmina", event: "run_silent", pairs: []string{"training_run_id", "r"}})
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{2 * time.Hour, "run_silent"}, {90 * time.Minute, ""}} {
			time.Sleep(step.after)
			synctest.Wait()
			if got := d.firing(); got != step.want {
				t.Errorf("after %s: fires %q", time.Since(begun()), got)
			}
		}
		d.stop()
	})
}

// The limit is one of the risk, and none of a flag that is 0 or 1.
func TestN6ALimitOfRiskIsComparedWithTheRisk(t *testing.T) {
	for _, c := range []struct {
		limit, risk float64
		fires       string
	}{
		{1, 0.99, ""}, {1, 1, "tamiyo_bsds_elevated_risk"}, {0.85, 0.84, ""}, {0.85, 0.86, "tamiyo_bsds_elevated_risk"},
	} {
		d := start(t, string(rules.Default(rules.Thresholds{ElevatedRisk: c.limit})), nil, nil)
		d.play(play{source: "tamiyo", metric: "tamiyo.blueprint.risk", values: []float64{c.risk}})
		if got := d.firing(); got != c.fires {
			t.Errorf("limit %v, risk %v: fires %q", c.limit, c.risk, got)
		}
	}
}

func TestN28AGraphThatReplaysBelowItsOneLimitIsNoAlert(t *testing.T) {
	d := shipped(t)
	replays := func(value float64) string {
		d.play(play{source: "tolaria", metric: "tolaria.graph.replay_ms", values: []float64{value, value, value}})
		return d.firing()
	}
	if below, above := replays(0.45), replays(0.55); below != "" || above != "tolaria_graph_replay_latency_high" {
		t.Errorf("0.45 ms fires %q, 0.55 ms fires %q", below, above)
	}
}
