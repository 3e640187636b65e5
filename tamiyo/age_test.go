package tamiyo

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// grow reports a seed and fails when it comes to a command.
func (r *run) grow(reports int, id string, at stage) {
	r.t.Helper()
	for i := range reports {
		if decision := r.report(1, seedState(id, at)); len(decision.Commands) > 0 {
			r.t.Fatalf("in report %d of %d: %v", i+1, reports, operations(decision))
		}
	}
}

// A kernel takes seconds to be compiled, to be fetched and to be attached, and a quick trainer
// sends dozens of reports meanwhile.
func TestTheWaitForAKernelMakesNoSeedOld(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	r.interval = 50 * time.Millisecond
	id := r.stall().GetTargetSeedId()
	for range 45 {
		if decision := r.report(1); len(decision.Commands) > 0 {
			t.Fatalf("on its way: %v", operations(decision))
		}
	}
	r.grow(9, id, stageTraining)
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
	if got := onlyReport(t, r.report(1), neutral, causeAge).GetMetrics()["age_epochs"]; got != 10 {
		t.Errorf("age in its field report %g, want 10", got)
	}
}

func TestASeedThatComesWithALaterAttemptIsYoung(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.interval = time.Second
	id := r.stall().GetTargetSeedId()
	for again := 1; again < maxGerminations; {
		again += len(r.report(1).Commands)
	}
	r.grow(10, id, stageTraining)
}

// How long its trainer has had a seed does not say for how long it was in the output.
func TestASeedThatIsFoundIsYoung(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	r.next.Grafts = graftsOf("found", "layer1", "BP002")
	state := seedState("found", stageTraining)
	for state.AgeEpochs = 1000; state.AgeEpochs < 1009; state.AgeEpochs++ {
		if decision := r.report(1, state); slices.Contains(operations(decision), "SEED_OP_CULL") {
			t.Fatalf("at the trainer's age %d: %v", state.AgeEpochs, operations(decision))
		}
	}
	if decision := r.report(1, state); !slices.Contains(operations(decision), "SEED_OP_CULL") {
		t.Errorf("after ten reports: %v", operations(decision))
	}
}

// An earlier version counted the wait under another name.
func TestRecordWithoutAgesIsTaken(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	id := r.stall().GetTargetSeedId()
	r.grow(1, id, stageTraining)
	data, err := json.Marshal(r.record)
	if err != nil {
		t.Fatal(err)
	}
	former := strings.Replace(string(data), `"lived":1`, `"age":9`, 1)
	if former == string(data) {
		t.Fatalf("no age in %s", data)
	}
	if r.record, err = DecodeRecord([]byte(former)); err != nil {
		t.Fatal(err)
	}
	r.grow(9, id, stageTraining)
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
}

func pausedSeed(id string, at stage) *leyline.SeedState {
	state := seedState(id, at)
	state.Metrics = map[string]float32{trainer.MetricPaused: 1}
	return state
}

// An operator, or an emergency, takes a seed out of the output until it is resumed, however long.
func TestWhatIsPausedDoesNotAge(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	id := r.stall().GetTargetSeedId()
	r.grow(5, id, stageTraining)
	for range 100 {
		if decision := r.report(1, pausedSeed(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("while it is paused: %v", operations(decision))
		}
	}
	r.grow(4, id, stageTraining)
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
	if got := onlyReport(t, r.report(1), neutral, causeAge).GetMetrics()["age_epochs"]; got != 10 {
		t.Errorf("age in its field report %g, want 10", got)
	}
}

// A report may miss a seed once, and says nothing of it then.
func TestWhatIsPausedIsNotTooOldForOneReportThatMissesIt(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	id := r.stall().GetTargetSeedId()
	layers := r.next.HostLayers
	r.next.HostLayers = nil // no command of a seed would be taken
	r.grow(12, id, stageTraining)
	r.next.HostLayers = layers
	for range 3 {
		for _, decision := range []Decision{r.report(1, pausedSeed(id, stageTraining)), r.report(1)} {
			if len(decision.Commands) > 0 {
				t.Fatalf("while it is paused: %v", operations(decision))
			}
		}
	}
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
}

// A neighbour on the machine makes steps slow for a while.
func TestAPauseByTheControllerDoesNotAge(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	id := r.stall().GetTargetSeedId()
	r.grow(3, id, stageTraining)
	for i := range 45 {
		state := seedState(id, stageTraining)
		if i > 0 {
			state = pausedSeed(id, stageTraining)
		}
		decision := r.metricsReport(map[string]float32{"step_latency_ms": 200}, state)
		if got := operations(decision); i == 0 != slices.Equal(got, []string{"COMMAND_PAUSE"}) || i > 0 && len(got) > 0 {
			t.Fatalf("slow report %d: %v", i+1, got)
		}
	}
	for i := range r.controller.config.HoldDownEpochs {
		want := []string(nil)
		if i+1 == r.controller.config.HoldDownEpochs {
			want = []string{"COMMAND_PAUSE"} // which resumes it
		}
		if got := operations(r.metricsReport(map[string]float32{"step_latency_ms": 10}, pausedSeed(id, stageTraining))); !slices.Equal(got, want) {
			t.Fatalf("quick report %d: %v, want %v", i+1, got, want)
		}
	}
	r.grow(5, id, stageTraining)
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
}

// A smaller bound, as of another instance, culls nothing that rests.
func TestASeedThatIsPausedIsNotTooOld(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	id := r.stall().GetTargetSeedId()
	r.grow(5, id, stageTraining)
	r.controller = NewController(Config{MaxAgeEpochs: 3})
	for range 5 {
		if decision := r.report(1, pausedSeed(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("while it is paused: %v", operations(decision))
		}
	}
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
}
