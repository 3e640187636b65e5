package tamiyo

import (
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// A list of seeds may be older than the CULL of one that was given up: its trainer attached the
// seed just then. Nothing that it tells of the seed speaks against anybody.
func TestSeedThatShowsAfterItWasGivenUpIsBlamedForNothing(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	command := r.stall()
	id, blueprint := command.GetTargetSeedId(), command.GetSeedOperation().GetBlueprintId()
	for r.record.growing() > 0 {
		r.report(1)
	}
	reports := 0
	for i := range 6 {
		var listed []*leyline.SeedState
		if i < 2 {
			listed = append(listed, measuredSeed(id, stageTraining, -0.5))
		}
		decision := r.report(0.9-0.1*float32(i), listed...)
		reports += len(decision.Reports)
		for _, given := range decision.Commands {
			if given.GetTargetSeedId() == id {
				t.Errorf("report %d: %v", i, given)
			}
		}
	}
	if reports != 0 {
		t.Errorf("%d field reports more", reports)
	}
	if at := r.record.Slots["layer1"]; len(at.WrittenOff) > 0 || at.Setbacks[blueprint] != 1 {
		t.Errorf("the slot remembers %+v", at)
	}
	if _, known := r.record.seed(id); known {
		t.Error("it is still known")
	}
}

// Where the CULL was lost, the seed is one like any other.
func TestSeedThatStaysAfterItWasGivenUpIsWatched(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	for r.record.growing() > 0 {
		r.report(1)
	}
	for i := range 5 {
		r.report(0.9-0.1*float32(i), seedState(id, stageTraining))
	}
	if s, known := r.record.seed(id); !known || s.Ended || s.Stage != stageTraining {
		t.Errorf("%+v, known %v", s, known)
	}
}

func versioned(version string) Policy { return &judge{version: version, answer: smallest} }

// What a seed came to is told of the policy that had it begun, not of the one that is in force
// by then.
func TestFieldReportNamesThePolicyThatBeganItsSeed(t *testing.T) {
	t.Parallel()
	var active Policy
	r := newRun(t, Config{ObservationWindow: 2, Policies: func() (Policy, Policy) { return active, nil }})
	end := func(id string, after Policy) []string {
		r.report(0.5, measuredSeed(id, stageProbationary, 0.1))
		active = after
		var named []string
		for range 3 {
			for _, report := range r.report(0.5, measuredSeed(id, stageFossilized, 0.1)).Reports {
				named = append(named, report.GetTamiyoPolicyVersion())
			}
		}
		return named
	}
	for _, row := range []struct {
		begins, ends Policy
		want         string
	}{
		{nil, versioned("v2"), DefaultPolicyVersion}, {versioned("v2"), nil, "v2"}, {versioned("v2"), versioned("v3"), "v2"},
	} {
		active = row.begins
		id := r.stall().GetTargetSeedId()
		if named := end(id, row.ends); len(named) != 2 || named[0] != row.want || named[1] != row.want {
			t.Errorf("reports name %v, want %s twice", named, row.want)
		}
	}
}
