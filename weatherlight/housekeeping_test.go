package weatherlight

import (
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
)

func taskPoints(h *maintenance.Runner) map[string]float64 {
	found := map[string]float64{}
	for _, p := range telemetry.MetricPoints(h.Figures()) {
		key := p.Name + "/" + p.Attributes["task"]
		if item, found := p.Attributes["item"]; found {
			key += "/" + item
		}
		found[key] = p.Value
	}
	return found
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
	if err := g.bus.Publish(t.Context(), oona.Message{Payload: forged}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the forged command is set aside", func() bool { return len(g.bus.Drops()) == 1 })
	if err := g.bus.EnsureGroups(t.Context(), assembly.Group+".long-gone", "oona.kernels.ready"); err != nil {
		t.Fatal(err)
	}
	<-time.After(5 * time.Millisecond) // All of that grows old.
	g.jobs.Round(t.Context())
	const prefix = "weatherlight.housekeeping."
	done := taskPoints(g.jobs)
	for item, least := range map[string]float64{
		"oona_trim/oona.normal": 2, "oona_dead_letters/removed": 1, "oona_answer_groups/removed": 1,
		"urza_maintenance/rows": 1, "capability_fanout/changed": 1, "memory/heap_bytes": 1,
	} {
		if got := done[prefix+"result/"+item]; got < least {
			t.Errorf("%s is %v, want at least %v", item, got, least)
		}
	}
	for _, job := range maintenance.Jobs(g.jobsConfig(g.fanOut)) {
		if done[prefix+"runs_total/"+job.Name] != 1 || done[prefix+"failures_total/"+job.Name] != 0 {
			t.Errorf("%s: %v runs, %v failed", job.Name, done[prefix+"runs_total/"+job.Name], done[prefix+"failures_total/"+job.Name])
		}
	}
	if err := g.stop(t); err != nil {
		t.Error(err)
	}
}
