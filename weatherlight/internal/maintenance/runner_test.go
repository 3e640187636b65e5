package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/telemetry"
)

var errBroken = errors.New("broken")

// plain has its beats an interval apart.
type plain struct{}

func (plain) Until(period time.Duration) time.Duration { return period }

// run runs it until the returned function is called.
func run(t *testing.T, runner *Runner) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func points(r *Runner) map[string]float64 {
	found := map[string]float64{}
	for _, p := range telemetry.MetricPoints(r.Figures()) {
		key := p.Name + "/" + p.Attributes["task"]
		if item, found := p.Attributes["item"]; found {
			key += "/" + item
		}
		found[key] = p.Value
	}
	return found
}

func TestFailedTrimmingDoesNotStopMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var maintained atomic.Int64
		runner := New(Config{Clock: plain{}, Interval: time.Minute, Logger: slog.New(slog.DiscardHandler)}, []Job{
			{Name: "trim", Do: func(context.Context) (map[string]float64, error) { return map[string]float64{"partly": 1}, errBroken }},
			{Name: "maintain", Do: func(context.Context) (map[string]float64, error) {
				n := maintained.Add(1)
				time.Sleep(2 * time.Second)
				return map[string]float64{"rows": float64(n)}, nil
			}},
		})
		stop := run(t, runner)
		time.Sleep(59 * time.Second)
		if maintained.Load() != 0 {
			t.Error("housekeeping before its time")
		}
		time.Sleep(3*time.Minute + 30*time.Second)
		stop()
		const prefix = "weatherlight.housekeeping."
		want := map[string]float64{
			prefix + "runs_total/trim": 4, prefix + "failures_total/trim": 4, prefix + "duration_ms/trim": 0,
			prefix + "result/trim/partly":  1,
			prefix + "runs_total/maintain": 4, prefix + "failures_total/maintain": 0, prefix + "duration_ms/maintain": 2000,
			prefix + "result/maintain/rows": 4,
		}
		if diff := cmp.Diff(want, points(runner)); diff != "" {
			t.Error("points (-want +got):", diff)
		}
	})
}

func TestStopInTheMiddleOfHousekeepingSkipsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var after int
		ctx, cancel := context.WithCancel(t.Context())
		runner := New(Config{Clock: plain{}, Interval: time.Minute, Logger: slog.New(slog.DiscardHandler)}, []Job{
			{Name: "slow", Do: func(context.Context) (map[string]float64, error) { cancel(); return nil, nil }},
			{Name: "next", Do: func(context.Context) (map[string]float64, error) { after++; return nil, nil }},
		})
		if err := runner.Run(ctx); err != nil || after != 0 {
			t.Errorf("Run = %v, and %d jobs after the stop", err, after)
		}
	})
}

func TestWhatIsDoneElsewhereIsNotCounted(t *testing.T) {
	runner := New(Config{Clock: plain{}, Interval: time.Minute, Logger: slog.New(slog.DiscardHandler)}, []Job{
		{Name: "theirs", Do: func(context.Context) (map[string]float64, error) { return nil, errElsewhere }},
		{Name: "broken", Do: func(context.Context) (map[string]float64, error) { return nil, errBroken }},
	})
	runner.Round(t.Context())
	got := points(runner)
	const prefix = "weatherlight.housekeeping."
	if got[prefix+"runs_total/theirs"] != 0 || got[prefix+"failures_total/theirs"] != 0 || got[prefix+"runs_total/broken"] != 1 {
		t.Errorf("points %v", got)
	}
	if failures := runner.Failures(); failures["theirs"] != 0 || failures["broken"] != 1 {
		t.Errorf("failures %v", failures)
	}
}
