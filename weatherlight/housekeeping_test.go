package weatherlight

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func chorePoints(h *housekeeper) map[string]float64 {
	found := map[string]float64{}
	for _, p := range h.points() {
		key := p.name + "/" + p.labels[1]
		if len(p.labels) == 4 {
			key += "/" + p.labels[3]
		}
		found[key] = p.value
	}
	return found
}

func TestFailedTrimmingDoesNotStopMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var maintained atomic.Int64
		keeper := newHousekeeper(time.Minute, slog.New(slog.DiscardHandler), []chore{
			{"trim", func(context.Context) (map[string]float64, error) { return map[string]float64{"partly": 1}, errBroken }},
			{"maintain", func(context.Context) (map[string]float64, error) {
				n := maintained.Add(1)
				time.Sleep(2 * time.Second)
				return map[string]float64{"rows": float64(n)}, nil
			}},
		})
		stop := run(t, keeper)
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
		if diff := cmp.Diff(want, chorePoints(keeper)); diff != "" {
			t.Error("points (-want +got):", diff)
		}
		if got := keeper.states[0].lastError; got != errBroken.Error() {
			t.Errorf("last error %q", got)
		}
	})
}

func TestStopInTheMiddleOfHousekeepingSkipsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var after int
		ctx, cancel := context.WithCancel(t.Context())
		keeper := newHousekeeper(time.Minute, slog.New(slog.DiscardHandler), []chore{
			{"slow", func(context.Context) (map[string]float64, error) { cancel(); return nil, nil }},
			{"next", func(context.Context) (map[string]float64, error) { after++; return nil, nil }},
		})
		if err := keeper.Run(ctx); err != nil || after != 0 {
			t.Errorf("Run = %v, and %d chores after the stop", err, after)
		}
	})
}
