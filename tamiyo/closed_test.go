package tamiyo

import (
	"fmt"
	"slices"
	"testing"
)

// An operator has had the run conservative for an hour: whatever is germinated, Kasmina refuses.
func TestNoSeedIsAskedForWhileNoneCanBeBegun(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	var all []Candidate
	for i := range 34 {
		all = append(all, safe(fmt.Sprintf("BP%03d", i), 100000/(i+1)))
	}
	r.candidates = offer(all...)
	r.next.Closed = "emergency"
	for range 360 {
		if decision := r.report(1); len(decision.Commands)+len(decision.Reports) > 0 {
			t.Fatalf("report %d: %v %v", r.epoch, operations(decision), decision.Reports)
		}
	}
	r.next.Closed = ""
	if got := r.stall().GetSeedOperation().GetBlueprintId(); got != "BP000" {
		t.Errorf("begun is %s, want the best", got)
	}
}

// One that was asked for just before is not given up for what was refused meanwhile, and is asked
// for again once it can be begun.
func TestASeedIsNotGivenUpWhileNoneCanBeBegun(t *testing.T) {
	t.Parallel()
	for asked := 1; asked <= maxGerminations; asked++ {
		r := newRun(t, Config{})
		id := r.stall().GetTargetSeedId()
		for again := 1; again < asked; {
			again += len(r.report(1).Commands)
		}
		r.next.Closed = "emergency"
		for range 60 {
			if decision := r.report(1); len(decision.Commands)+len(decision.Reports) > 0 {
				t.Fatalf("asked %d times, report %d: %v %v", asked, r.epoch, operations(decision), decision.Reports)
			}
		}
		if slots := r.record.Slots; len(slots) > 0 {
			t.Errorf("asked %d times: held against blueprints %+v", asked, slots)
		}
		r.next.Closed = ""
		want := "SEED_OP_GERMINATE"
		if asked == maxGerminations {
			want = "SEED_OP_CULL" // it was asked for as often as a seed is
		}
		if command := only(t, r.report(1), want); command.GetTargetSeedId() != id {
			t.Errorf("asked %d times: then %v of %s", asked, operationName(command), command.GetTargetSeedId())
		}
	}
}

// What can be begun does not matter to those that are there.
func TestSeedsGoOnWhileNoneCanBeBegun(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageTraining))
	r.next.Closed = "breaker_open"
	r.report(1, measuredSeed(id, stageProbationary, 0.1))
	only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if got := r.report(1, seedState(id, stageFossilized)); len(got.Reports) != 1 || slices.Contains(operations(got), "SEED_OP_GERMINATE") {
		t.Errorf("commands %v, reports %v", operations(got), got.Reports)
	}
}
