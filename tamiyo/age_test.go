package tamiyo

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
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
