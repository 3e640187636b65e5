package tamiyo

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// explanations are the events of so many reports that explain a pass.
func (r *run) explanations(reports int) (told []map[string]string) {
	r.t.Helper()
	for range reports {
		decision := r.report(1)
		if len(decision.Commands) > 0 {
			r.t.Fatalf("commands %v", operations(decision))
		}
		if slices.Contains(events(decision), "decision_explained") {
			told = append(told, attributesOf(r.t, decision, "decision_explained"))
		}
	}
	return told
}

func risky(id string) Candidate {
	c := safe(id, 100)
	c.Risk = 0.6
	return c
}

func TestAPassThatBeginsNothingIsExplainedWhenWhatItSaysHasChanged(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.candidates = offer(risky("BP002"), safe("BP003", 0))
	told := r.explanations(12)
	want := []map[string]string{{
		"training_run_id": "run-1", "policy_version": DefaultPolicyVersion, "effect": "tell", "stalled_epochs": "4",
		"considered": "BP002 at layer1: not for blueprint_risk; BP003 at layer1: not for want of parameters", "reason": starvedOfBlueprints,
	}}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Fatal(diff)
	}
	r.candidates = offer(risky("BP002"), safe("BP003", 0), quarantined("BP004"))
	if told = r.explanations(3); len(told) != 1 {
		t.Errorf("one more is refused: %v", told)
	}
	r.candidates = func([]int) ([]Candidate, error) { return nil, errors.New("catalogue down") }
	if told = r.explanations(3); len(told) != 0 {
		t.Errorf("nothing was considered: %v", told)
	}
	r.candidates = offer(risky("BP002"), safe("BP003", 0), quarantined("BP004"))
	if told = r.explanations(3); len(told) != 0 {
		t.Errorf("the same as before: %v", told)
	}
	r.candidates = offer(safe("BP002", 100))
	r.stall()
}

func TestAPolicyThatWaitsIsExplained(t *testing.T) {
	t.Parallel()
	worth := float32(-1)
	policy := &judge{version: "p", answer: func([]float32) []float32 { return []float32{worth, 0.25, 1, 0} }}
	r := newRun(t, Config{Policies: decidedBy(policy, nil)})
	r.candidates = offer(safe("BP002", 100), risky("BP003"))
	told := r.explanations(6)
	worth = -0.5 // which changes nothing
	told = append(told, r.explanations(6)...)
	if len(told) != 1 || told[0]["reason"] != "policy_waits" || told[0]["policy_version"] != "p" ||
		told[0]["considered"] != "BP002 at layer1: -1.000; BP003 at layer1: not for blueprint_risk" {
		t.Fatalf("told %v", told)
	}
	policy.version = "q"
	if told = r.explanations(3); len(told) != 1 || told[0]["policy_version"] != "q" {
		t.Errorf("another policy waits: %v", told)
	}
	worth = 1
	seed := r.stall().GetTargetSeedId()
	worth = -1
	for range 20 { // the seed goes, and what it leaves is as before
		if got := r.report(1, seedState(seed, stageCulled)); slices.Contains(events(got), "decision_explained") {
			if got := attributesOf(t, got, "decision_explained"); got["reason"] == "policy_waits" || got["reason"] == starvedOfBlueprints {
				return
			}
		}
	}
	t.Error("it waits anew, and nobody is told")
}

// What begins at one slot is explained with its command; what was considered at the others, in it.
func TestAPassThatBeginsASeedIsExplainedOnce(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.stall()
	told := 0
	for _, name := range events(r.decisions[len(r.decisions)-1]) {
		if name == "decision_explained" {
			told++
		}
	}
	if told != 1 || len(r.record.Unbegun) > 0 {
		t.Errorf("explained %d times, remembered %v", told, r.record.Unbegun)
	}
}

// A slot of which there is nothing to tell for a while, because it was not asked about or had no
// answer, is not told of anew for that.
func TestWhatWasToldOfASlotIsNotToldAgain(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.next.Slots = map[string][]int{"a": {7}, "b": {8}}
	fits := offer(risky("BP002"))
	r.candidates = func(slot []int) ([]Candidate, error) {
		if slot[0] == 7+int(r.epoch)%2 {
			return nil, errors.New("not now")
		}
		return fits(slot)
	}
	if told := r.explanations(20); len(told) != 2 {
		t.Errorf("told %v", told)
	}
	delete(r.next.Slots, "b")
	if r.report(1); len(r.record.Unbegun) > 1 {
		t.Errorf("remembered %v", r.record.Unbegun)
	}
}
