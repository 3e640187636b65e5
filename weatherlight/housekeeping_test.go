package weatherlight

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
)

func chorePoints(h *housekeeper) map[string]float64 {
	found := map[string]float64{}
	for _, p := range h.points() {
		key := p.Name + "/" + p.Labels[1]
		if len(p.Labels) == 4 {
			key += "/" + p.Labels[3]
		}
		found[key] = p.Value
	}
	return found
}

func TestFailedTrimmingDoesNotStopMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var maintained atomic.Int64
		keeper := newHousekeeper(time.Minute, slog.New(slog.DiscardHandler), []chore{
			{name: "trim", do: func(context.Context) (map[string]float64, error) { return map[string]float64{"partly": 1}, errBroken }},
			{name: "maintain", do: func(context.Context) (map[string]float64, error) {
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
			{name: "slow", do: func(context.Context) (map[string]float64, error) { cancel(); return nil, nil }},
			{name: "next", do: func(context.Context) (map[string]float64, error) { after++; return nil, nil }},
		})
		if err := keeper.Run(ctx); err != nil || after != 0 {
			t.Errorf("Run = %v, and %d chores after the stop", err, after)
		}
	})
}

// Every part of a round does what it is for: here each has something to do.
func TestHousekeepingTidiesBusAndLibrary(t *testing.T) {
	resolved := loadSettings(t, map[string]string{"REDIS_URL": redistest.Start(t).URL})
	resolved.Oona.MessageTTL, resolved.Oona.DeadLetterTTL = time.Millisecond, time.Millisecond
	service, err := New(Config{Settings: resolved})
	if err != nil {
		t.Fatal(err)
	}
	g := newGardenOn(t, "BP002", start(t, service))
	g.blend("seed-1")
	forged := g.signed("forged", "seed-2", leyline.SeedOperation_SEED_OP_GERMINATE)
	forged.Annotations["signature"] = "bm8="
	if err := g.bus.PublishCommand(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the forged command is set aside", func() bool { return len(g.bus.Drops()) == 1 })
	if err := g.bus.EnsureGroups(t.Context(), Group+".long-gone", "oona.kernels.ready"); err != nil {
		t.Fatal(err)
	}
	<-time.After(5 * time.Millisecond) // All of that grows old.
	g.chores.round(t.Context())
	const prefix = "weatherlight.housekeeping."
	done := chorePoints(g.chores)
	for item, least := range map[string]float64{
		"oona_trim/oona.normal": 2, "oona_dead_letters/removed": 1, "oona_answer_groups/removed": 1,
		"urza_maintenance/rows": 1, "capability_fanout/changed": 1, "memory/heap_bytes": 1,
	} {
		if got := done[prefix+"result/"+item]; got < least {
			t.Errorf("%s is %v, want at least %v", item, got, least)
		}
	}
	for _, chore := range g.chores.chores {
		if done[prefix+"runs_total/"+chore.name] != 1 || done[prefix+"failures_total/"+chore.name] != 0 {
			t.Errorf("%s: %v runs, %v failed", chore.name, done[prefix+"runs_total/"+chore.name], done[prefix+"failures_total/"+chore.name])
		}
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
