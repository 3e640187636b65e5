package tamiyo

import (
	"errors"
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
		if len(*asked) != maxLooked || len(decision.Commands) > 0 {
			t.Fatalf("report %d asks about slots %v, %v", i, *asked, operations(decision))
		}
		if slices.Contains(events(decision), "no_seed_candidates") {
			if starved++; i != 40/maxLooked-1 {
				t.Errorf("starved is told after %d reports", i+1)
			}
		}
		turns, want = append(turns, *asked...), append(want, (i*maxLooked)%40, (i*maxLooked+1)%40, (i*maxLooked+2)%40, (i*maxLooked+3)%40)
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
	for _, want := range []int{3 * (maxLooked - 1), 0, 3 * maxLooked} { // the next ones go on behind those in vain
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

// A famine is of all slots, which may take several reports to look at: not while the policy waits at some
// of them, nor while it is not known what fits them.
func TestNothingIsAFamineUntilAllSlotsWereLookedAtInVain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		open        func(slot int) bool // where something may be begun, for which the policy waits
		unknown     func(slot int) bool
		unavailable int
	}{
		"the policy waits":   {func(slot int) bool { return slot < maxLooked }, func(int) bool { return false }, 0},
		"one is not known":   {func(int) bool { return false }, func(slot int) bool { return slot == 0 }, 1},
		"another is neither": {func(slot int) bool { return slot == 9 }, func(slot int) bool { return slot == 5 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, fit, _ := forty(t, Config{Policies: decidedBy(&judge{version: "p", answer: answering(-1, 0)}, nil)})
			fits := r.candidates
			r.candidates = func(slot []int) ([]Candidate, error) {
				if row.unknown(slot[0] - 1) {
					return nil, errors.New("under way")
				}
				return fits(slot)
			}
			for i := range 40 {
				fit[i] = row.open(i)
			}
			told := map[string]int{}
			hear := func(reports int) {
				for range reports {
					for _, event := range events(r.report(1)) {
						told[event]++
					}
				}
			}
			hear(40)
			if told["no_seed_candidates"] != 0 || told["seed_candidates_unavailable"] != row.unavailable {
				t.Errorf("told of %v", told)
			}
			clear(fit)
			row.unknown = func(int) bool { return false }
			hear(21) // the rest of a sweep, and a whole one
			if told["no_seed_candidates"] != 1 || r.record.Unavailable {
				t.Errorf("in a famine told of %v", told)
			}
		})
	}
}
