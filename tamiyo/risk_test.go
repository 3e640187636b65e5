package tamiyo

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLossSpikeDoesNotEndInTheSamePass(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{HoldDownEpochs: 3})
	id := r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageTraining))
	spike := r.report(1.2, seedState(id, stageTraining))
	pause := only(t, spike, "COMMAND_PAUSE")
	if pause.GetTargetSeedId() != id || pause.GetAnnotations()["risk_reason"] != "loss_spike" ||
		pause.GetAnnotations()["reason"] != causePolicy {
		t.Errorf("pause %v", pause)
	}
	want := []string{"loss_spike", "conservative_entered", "command_issued", "decision_explained"}
	if diff := cmp.Diff(want, events(spike)); diff != "" {
		t.Error(diff)
	}
	if health := spike.Packets[0].GetSystemHealth(); health.GetSummary() != "loss_spike" ||
		health.GetStatus() != healthDegraded || health.GetIndicators()["mode"] != "1" ||
		health.GetIndicators()["priority"] != "MESSAGE_PRIORITY_HIGH" {
		t.Errorf("health %v", health)
	}
	for range 2 {
		if decision := r.report(1.2, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("in the hold-down: %v", operations(decision))
		}
	}
	resume := only(t, r.report(1.2, seedState(id, stageTraining)), "COMMAND_PAUSE")
	if resume.GetAnnotations()["resume"] != "true" {
		t.Errorf("not a resume: %v", resume)
	}
}

func TestNoGrowthWhileConservative(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{HoldDownEpochs: 100})
	r.report(1)
	r.report(2)
	for range 20 {
		if decision := r.report(2); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", r.epoch, operations(decision))
		}
	}
}

func TestLossThatIsNotANumberIsASpikeAndIsForgotten(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.report(1)
	for _, loss := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := events(r.report(float32(loss))); !slices.Contains(got, "loss_spike") {
			t.Errorf("loss %v: events %v", loss, got)
		}
	}
	if got := events(r.report(1)); slices.Contains(got, "loss_spike") {
		t.Error("the loss is back at 1 and still counts as a spike")
	}
}
