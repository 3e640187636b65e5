package tamiyo

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestOnlySafeBlueprintsAreChosen(t *testing.T) {
	t.Parallel()
	experimental := safe("experimental", 900)
	experimental.Tier = leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL
	approval, quarantine := safe("approval", 900), safe("quarantine", 900)
	approval.ApprovalRequired, quarantine.QuarantineOnly = true, true
	bad := []Candidate{
		experimental, approval, quarantine, safe("empty", 0), safe("", 900), safe(strings.Repeat("long", 50), 900),
	}
	r := newRun(t, Config{})
	r.candidates = offer(append(bad, safe("B", 7), safe("A", 7), safe("C", 3))...)
	if got := r.stall().GetSeedOperation().GetBlueprintId(); got != "A" {
		t.Errorf("chose %s, want A", got)
	}
}

func TestCandidatesAreAskedForByTheShapeOfTheSlot(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.next.Slots = map[string][]int{"b": {12, 32}, "a": {8}, "c": {64, 7, 7}}
	var asked [][]int
	r.candidates = func(slot []int) ([]Candidate, error) {
		asked = append(asked, slot)
		if len(slot) == 2 {
			return []Candidate{safe("BP007", 3)}, nil
		}
		return nil, nil
	}
	command := r.stall()
	if command.GetAnnotations()["slot"] != "b" || command.GetSeedOperation().GetBlueprintId() != "BP007" {
		t.Errorf("command %v", command)
	}
	if len(asked) != 2 || len(asked[0]) != 1 || len(asked[1]) != 2 {
		t.Errorf("asked for %v", asked)
	}
}

func TestSeedsGrowOnSeveralSlots(t *testing.T) {
	t.Parallel()
	tests := []struct {
		most  int
		slots []string
		want  []string
	}{
		{0, []string{"c", "b", "a"}, []string{"a"}},
		{1, []string{"c", "b", "a"}, []string{"a"}},
		{2, []string{"c", "b", "a"}, []string{"a", "b"}},
		{9, []string{"c", "b", "a"}, []string{"a", "b", "c"}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.most, " of ", len(test.slots)), func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{MaxGrowing: test.most})
			r.next.Slots = map[string][]int{}
			for _, name := range test.slots {
				r.next.Slots[name] = []int{8}
			}
			r.stall()
			var got, ids []string
			for _, command := range r.decisions[len(r.decisions)-1].Commands {
				got = append(got, command.GetAnnotations()["slot"])
				ids = append(ids, command.GetTargetSeedId())
			}
			if !slices.Equal(got, test.want) || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != len(test.want) {
				t.Fatalf("seeds %v at %v, want %v", ids, got, test.want)
			}
			var seeds []*leyline.SeedState
			for _, id := range ids {
				seeds = append(seeds, seedState(id, stageTraining))
			}
			for range 10 {
				if decision := r.report(1, seeds...); len(decision.Commands) > 0 {
					t.Fatalf("more than %d: %v", test.most, operations(decision))
				}
			}
		})
	}
}

func TestBlueprintIsWrittenOffAtItsSlotAlone(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.candidates = offer(safe("BP002", 100))
	r.next.Slots = map[string][]int{"a": {8}, "b": {8}}
	first := r.stall()
	r.report(1, seedState(first.GetTargetSeedId(), stageTraining))
	r.report(1, seedState(first.GetTargetSeedId(), stageCulled))
	if second := r.stall(); second.GetAnnotations()["slot"] != "b" || second.GetSeedOperation().GetBlueprintId() != "BP002" {
		t.Errorf("command %v", second)
	}
}

func TestSlotOfAKeptSeedIsFree(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	kept := seedState(r.stall().GetTargetSeedId(), stageFossilized)
	r.report(1, kept)
	for range 3 {
		if decision := r.report(1, kept); len(decision.Commands) > 0 {
			t.Fatal("no time to show what it is worth")
		}
	}
	if command := only(t, r.report(1, kept), "SEED_OP_GERMINATE"); command.GetAnnotations()["slot"] != "layer1" {
		t.Errorf("command %v", command)
	}
}

func TestEmptyLibraryIsSaidOnceAndTriedAgain(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.candidates = offer()
	said := 0
	for range 10 {
		decision := r.report(1)
		if len(decision.Commands) > 0 {
			t.Fatalf("commands %v without candidates", operations(decision))
		}
		if slices.Contains(events(decision), "no_seed_candidates") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times that there are no candidates", said)
	}
	r.candidates = offer(safe("BP009", 1))
	only(t, r.report(1), "SEED_OP_GERMINATE")
}

func TestSlotWhoseCandidatesAreNotKnownYetIsPassedOver(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.next.Slots = map[string][]int{"a": {7}, "b": {8}}
	known := false
	r.candidates = func(slot []int) ([]Candidate, error) {
		if slot[0] == 7 || !known {
			return nil, errors.New("catalogue down")
		}
		return []Candidate{safe("BP002", 1)}, nil
	}
	said := 0
	for range 10 {
		decision := r.report(1)
		if len(decision.Commands) > 0 || slices.Contains(events(decision), "no_seed_candidates") {
			t.Fatalf("%v %v", operations(decision), events(decision))
		}
		if slices.Contains(events(decision), "seed_candidates_unavailable") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times that candidates are not known", said)
	}
	known = true
	if command := only(t, r.report(1), "SEED_OP_GERMINATE"); command.GetAnnotations()["slot"] != "b" {
		t.Errorf("command %v", command)
	}
}

func TestWhateverIsLongOrOddFitsASeedsName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"run-1", strings.Repeat("run", 150), "a \"b\" <c>", "漢字"} {
		r := newRun(t, Config{})
		r.candidates = offer(safe(strings.Repeat("b", 128), 5))
		var command *leyline.AdaptationCommand
		for number := range uint64(9) {
			state := r.next
			state.Number = number + 1<<52
			state.Packet = packetOf(uint32(number), 1)
			state.Packet.TrainingRunId = name
			if decision := r.decide(state); len(decision.Commands) > 0 {
				command = decision.Commands[0]
			}
		}
		if id := command.GetTargetSeedId(); len(id) > 128 || !isWord(id) {
			t.Errorf("seed id %q", id)
		}
	}
}

// costing is a safe candidate of so much work.
func costing(id string, parameters int, multiplyAdds int64) Candidate {
	c := safe(id, parameters)
	c.MultiplyAdds = multiplyAdds
	return c
}

func TestChoiceGoesByWhatTheHostCanAfford(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		slot  []int
		host  float32 // what its trainer tells, 0 nothing
		offer []Candidate
		want  string
	}{
		{"untold", []int{32}, 0, []Candidate{costing("wide", 9000, 9000), costing("narrow", 900, 900)}, "wide"},
		{"as much as the host", []int{32}, 5000, []Candidate{costing("wide", 500, 5501), costing("narrow", 100, 5000)}, "narrow"},
		{"and its own weights", []int{32}, 5000, []Candidate{costing("wide", 500, 5500), costing("narrow", 100, 5000)}, "wide"},
		{"twice the host at most", []int{32}, 5000, []Candidate{costing("wide", 10001, 10001), costing("narrow", 9000, 10000)}, "narrow"},
		{"a tiny host", []int{6}, 24, []Candidate{costing("wide", 9000, 9000), costing("narrow", 400, 400)}, "narrow"},
		{"no number", []int{32}, float32(math.NaN()), []Candidate{costing("wide", 9000, 9000), costing("narrow", 900, 900)}, "narrow"},
		{"without end", []int{32}, float32(math.Inf(1)), []Candidate{costing("wide", 9000, 9000), costing("narrow", 900, 900)}, "narrow"},
		{"less than nothing", []int{32}, -5000, []Candidate{costing("wide", 9000, 9000), costing("narrow", 900, 900)}, "narrow"},
		{"nobody counted the dear one's", []int{32}, 5000, []Candidate{costing("wide", 10001, -1), costing("narrow", 900, 900)}, "narrow"},
		{"nor that it is at work at many positions", []int{8, 7, 7}, 5000,
			[]Candidate{costing("wide", 900, -1), costing("narrow", 100, 4900)}, "narrow"},
		{"what nobody counted is not free", []int{8, 7, 7}, 0, []Candidate{costing("a", 900, -1), costing("b", 900, 4500)}, "b"},
		{"a table computes nothing", []int{8, 7, 7}, 0, []Candidate{costing("table", 20000, 0), costing("mixing", 70, 3000)}, "mixing"},
		{"comparing positions is not strength", []int{12, 16}, 0,
			[]Candidate{costing("attention", 100, 9000), costing("mixing", 500, 6000)}, "mixing"},
		{"a weight counts once, wherever it is at work", []int{8, 7, 7}, 0,
			[]Candidate{costing("convolution", 100, 4900), costing("pooled", 3000, 3000)}, "pooled"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			r.next.Slots = map[string][]int{"layer1": test.slot}
			r.hostWork = test.host
			r.candidates = offer(test.offer...)
			if got := r.stall().GetSeedOperation().GetBlueprintId(); got != test.want {
				t.Errorf("chose %s, want %s", got, test.want)
			}
		})
	}
}

func TestNextSeedGoesWhereTheLeastWasTried(t *testing.T) {
	t.Parallel()
	for _, end := range []stage{stageFossilized, stageCulled} {
		t.Run(leyline.SeedLifecycleStage(end).String(), func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			r.next.Slots = map[string][]int{"a": {8}, "b": {8}}
			first := r.stall().GetTargetSeedId()
			r.report(1, seedState(first, stageTraining))
			r.report(1, seedState(first, end))
			for range 12 {
				commands := r.report(1, seedState(first, end)).Commands
				if len(commands) == 0 {
					continue
				}
				if got := commands[0].GetAnnotations()["slot"]; got != "b" {
					t.Errorf("the next seed grows at %s", got)
				}
				return
			}
			t.Error("nothing grows any more")
		})
	}
}

// Where weights are at work at so many positions, a slot waits for so many turns of another.
func TestSlotsWhereWeightsRepeatTheirWorkWait(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.next.Slots = map[string][]int{"a": {8, 2, 2}, "b": {3, 8}, "c": {8}}
	var turns []string
	var kept []*leyline.SeedState
	for range 40 {
		for _, command := range r.report(1, kept...).Commands {
			turns = append(turns, command.GetAnnotations()["slot"])
			kept = append(kept, seedState(command.GetTargetSeedId(), stageFossilized))
		}
	}
	if want := []string{"c", "c", "b", "c", "a", "c"}; len(turns) < len(want) || !slices.Equal(turns[:len(want)], want) {
		t.Errorf("seeds grew at %v, want %v", turns, want)
	}
}

// What a host costs is known from the first good figure on, until there is another.
func TestABoundThatWasToldStays(t *testing.T) {
	t.Parallel()
	for _, later := range []float32{0, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), -1} {
		r := newRun(t, Config{})
		r.next.Slots = map[string][]int{"layer1": {32}}
		r.candidates = offer(costing("wide", 9000, 11000), costing("narrow", 900, 3000))
		r.hostWork = 5000
		r.report(1)
		r.hostWork = later
		if got := r.stall().GetSeedOperation().GetBlueprintId(); got != "narrow" {
			t.Errorf("%v after 5000: chose %s", later, got)
		}
	}
}

// Seeds of which nobody knows what they cost are there after a record was lost.
func TestSeedsOfUnknownCostAreNotFree(t *testing.T) {
	t.Parallel()
	begun := func(slots map[string][]int) string {
		r := newRun(t, Config{})
		r.next.Slots, r.hostWork = slots, 5000
		r.candidates = offer(costing("wide", 3000, 4500), costing("narrow", 1000, 1000))
		r.next.Grafts = map[string]trainer.Graft{"former": {Slot: "a", Blueprint: "narrow"}}
		for range 9 {
			for _, command := range r.report(1, seedState("former", stageFossilized)).Commands {
				return command.GetSeedOperation().GetBlueprintId()
			}
		}
		return ""
	}
	// It counts as much as the host: that leaves room for weights alone.
	if got := begun(map[string][]int{"b": {32}}); got != "narrow" {
		t.Errorf("beside one of unknown cost %q is begun", got)
	}
	// What fits its slot tells what it costs.
	if got := begun(map[string][]int{"a": {32}}); got != "wide" {
		t.Errorf("beside one whose cost was found out %q is begun", got)
	}
}

// Two seeds of as many weights as multiply-adds leave room for none.
func TestHostBearsSoMuchInAll(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.next.Slots = map[string][]int{"a": {32}, "b": {32}}
	r.hostWork = 5000
	r.candidates = offer(costing("wide", 4000, 4000), costing("narrow", 100, 1200))
	var begun []string
	var kept []*leyline.SeedState
	for range 40 {
		for _, command := range r.report(1, kept...).Commands {
			begun = append(begun, command.GetSeedOperation().GetBlueprintId())
			kept = append(kept, seedState(command.GetTargetSeedId(), stageFossilized))
		}
	}
	if !slices.Equal(begun, []string{"wide", "wide"}) {
		t.Errorf("begun %v", begun)
	}
}
