package runsimtest

import "testing"

// TestSeedRepeatsItsRun: what the summary of a failure promises. A real graft
// measures how long a forward pass takes, and repeats nothing to the byte.
func TestSeedRepeatsItsRun(t *testing.T) {
	digests := make(map[uint64]bool)
	const seeds = 15
	for seed := range uint64(seeds) {
		s := Scenario{Seed: seed + 1}
		first, second := Simulate(s), Simulate(s)
		if first.Digest != second.Digest || first.Counts != second.Counts {
			t.Errorf("seed %d: %+v and %+v", seed+1, first.Counts, second.Counts)
		}
		digests[first.Digest] = true
	}
	if len(digests) != seeds {
		t.Errorf("%d different simulations of %d", len(digests), seeds)
	}
}
