package tamiyo

import (
	"fmt"
	"slices"
	"testing"
)

// forty is a run of forty free slots, of which all but some have nothing that may be begun; asked are the
// slots that a report asked for.
func forty(t *testing.T, config Config) (r *run, fit map[int]bool, asked *[]int) {
	t.Helper()
	r, fit, asked = newRun(t, config), map[int]bool{}, new([]int)
	r.next.Slots = map[string][]int{}
	for i := range 40 {
		r.next.Slots[fmt.Sprintf("layer%02d", i)] = []int{i + 1}
	}
	r.candidates = func(slot []int) ([]Candidate, error) {
		*asked = append(*asked, slot[0]-1)
		if fit[slot[0]-1] {
			return []Candidate{safe("BP002", 100)}, nil
		}
		return []Candidate{with("BP001", 100, func(c *Candidate) { c.Risk = 0.6 })}, nil
	}
	return r, fit, asked
}

// A report of many slots costs no more than one of a few, and still each has its turn.
func TestFewSlotsAreLookedAtInVainInOneReport(t *testing.T) {
	t.Parallel()
	r, fit, asked := forty(t, Config{})
	for range 4 {
		r.report(1)
	}
	var turns, want []int
	starved := 0
	for i := range 20 {
		*asked = nil
		decision := r.report(1)
		if len(*asked) != maxVain || len(decision.Commands) > 0 {
			t.Fatalf("report %d asks about slots %v, %v", i, *asked, operations(decision))
		}
		if slices.Contains(events(decision), "no_seed_candidates") {
			if starved++; i != 40/maxVain-1 {
				t.Errorf("starved is told after %d reports", i+1)
			}
		}
		turns, want = append(turns, *asked...), append(want, (i*maxVain)%40, (i*maxVain+1)%40, (i*maxVain+2)%40, (i*maxVain+3)%40)
	}
	if !slices.Equal(turns, want) || starved != 1 {
		t.Errorf("turns %v, starved %d times", turns, starved)
	}
	// What fits from now on is found.
	fit[30], fit[35] = true, true
	command := until(t, "SEED_OP_GERMINATE", func() Decision { return r.report(1) })
	if got := command.GetAnnotations()["slot"]; got != "layer30" {
		t.Errorf("the seed grows at %s", got)
	}
	if r.record.InVain != 0 {
		t.Errorf("after a seed was begun %d slots are still counted as looked at", r.record.InVain)
	}
}

// Where seeds are begun, as many slots are looked at as there are seeds to begin.
func TestSlotsWhereSeedsAreBegunAreNotInVain(t *testing.T) {
	t.Parallel()
	r, fit, _ := forty(t, Config{MaxGrowing: 40})
	for i := range 40 {
		fit[i] = i%4 > 0
	}
	r.stall()
	begun := 0
	for _, want := range []int{3 * (maxVain - 1), 0, 3 * maxVain} { // the next ones go on behind those in vain
		if got := len(r.decisions[len(r.decisions)-1].Commands); got != want {
			t.Errorf("%d seeds are begun beside %d, want %d", got, begun, want)
		}
		begun += want
		r.report(1)
	}
}

// What a rule holds back for a report is looked at again in the next one, and a new stall begins with
// the slot that is next.
func TestSlotThatWasHeldBackKeepsItsTurn(t *testing.T) {
	t.Parallel()
	r, fit, _ := forty(t, Config{})
	fit[5] = true
	for range 5 {
		r.report(1)
	}
	if len(r.report(1.08).Commands) > 0 { // loss_warning holds
		t.Fatal("a seed is begun beside a rising loss")
	}
	if command := only(t, r.report(1.08), "SEED_OP_GERMINATE"); command.GetAnnotations()["slot"] != "layer05" {
		t.Errorf("the seed grows at %v", command.GetAnnotations()["slot"])
	}

	r, _, asked := forty(t, Config{})
	for range 5 {
		r.report(1)
	}
	for range 4 {
		r.report(0.5)
	}
	*asked = nil
	if r.report(0.5); !slices.Equal(*asked, []int{0, 1, 2, 3}) {
		t.Errorf("a new stall asks about %v", *asked)
	}
}
