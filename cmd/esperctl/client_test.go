package main

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func newIdleClient() *client {
	return &client{
		changed: make(chan struct{}), runID: "run-1", evaluated: make(map[string][]issued), ours: make(map[string]bool),
		handled: make(map[string]bool), answered: make(map[string]bool), lives: make(map[string]*life),
	}
}

func stagePacket(id, seed, stage string) *leyline.TelemetryPacket {
	return telemetry.New("kasmina", "kasmina").WithID(id).
		Event("seed_stage", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "seed_id", seed, "stage", stage).
		Event("seed_operation", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"seed_id", seed, "blueprint_id", "BP021", "command_id", "cmd-1").
		Build()
}

func evaluationPacket(id, run, seed string) *leyline.TelemetryPacket {
	return telemetry.New("tamiyo", "tamiyo").WithID(id).
		Event("command_issued", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO,
			"command_id", "cmd-1", "seed_id", seed, "operation", "SEED_OP_GERMINATE", "training_run_id", run).
		Build()
}

func TestStagesAreInOrderAlthoughUrgentPacketsOvertake(t *testing.T) {
	t.Parallel()
	c := newIdleClient()
	c.evaluation(evaluationPacket("state-1", "run-1", "seed-a"))
	c.seedPacket(stagePacket("kasmina-seed-seed-a-7", "seed-a", "SEED_STAGE_CULLED"))
	c.seedPacket(stagePacket("kasmina-seed-seed-a-5", "seed-a", "SEED_STAGE_GERMINATED"))
	c.seedPacket(stagePacket("kasmina-seed-seed-a-6", "seed-a", "SEED_STAGE_GERMINATED"))
	seeds := c.seeds()
	if len(seeds) != 1 || seeds[0].BlueprintID != "BP021" {
		t.Fatalf("seeds: %+v", seeds)
	}
	if want := []string{"SEED_STAGE_GERMINATED", "SEED_STAGE_CULLED"}; !slices.Equal(seeds[0].Stages, want) {
		t.Errorf("stages = %v, want %v", seeds[0].Stages, want)
	}
}

func TestSeedsOfOtherRunsAreNotReported(t *testing.T) {
	t.Parallel()
	c := newIdleClient()
	c.evaluation(evaluationPacket("state-1", "another-run", "seed-b"))
	c.seedPacket(stagePacket("kasmina-seed-seed-b-1", "seed-b", "SEED_STAGE_TRAINING"))
	if seeds := c.seeds(); len(seeds) != 0 {
		t.Errorf("seeds of another run: %+v", seeds)
	}
}

func TestRunWaitsForTheKernelOfAGerminatedSeed(t *testing.T) {
	t.Parallel()
	c := newIdleClient()
	c.evaluation(evaluationPacket("state-1", "run-1", "seed-a"))
	commands := c.evaluated["state-1"]
	if c.allSettled(commands) {
		t.Error("settled before the command was taken up")
	}
	c.seedPacket(stagePacket("kasmina-seed-seed-a-1", "seed-a", "SEED_STAGE_GERMINATED"))
	if c.allSettled(commands) {
		t.Error("settled before the kernel was there")
	}
	c.seedPacket(stagePacket("kasmina-seed-seed-a-2", "seed-a", "SEED_STAGE_TRAINING"))
	if !c.allSettled(commands) {
		t.Error("not settled although the seed trains")
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	samples := []time.Duration{4 * time.Millisecond, time.Millisecond, 3 * time.Millisecond, 2 * time.Millisecond}
	if got := quantile(samples, 0.5); got != 3 {
		t.Errorf("p50 = %v ms", got)
	}
	if got := quantile(samples, 0.99); got != 4 {
		t.Errorf("p99 = %v ms", got)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("p50 of nothing = %v", got)
	}
}
