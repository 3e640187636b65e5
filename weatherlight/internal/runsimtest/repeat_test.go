package runsimtest

import "testing"

// TestSeedRepeatsItsRun: what the summary of a failure promises.
func TestSeedRepeatsItsRun(t *testing.T) {
	digests := make(map[uint64]bool)
	const seeds = 6
	for seed := range uint64(seeds) {
		first, second := Simulate(Scenario{Seed: seed + 1}), Simulate(Scenario{Seed: seed + 1})
		if first.Digest != second.Digest || first.Counts != second.Counts {
			t.Errorf("seed %d: %+v and %+v", seed+1, first.Counts, second.Counts)
		}
		digests[first.Digest] = true
	}
	if len(digests) != seeds {
		t.Errorf("%d different simulations of %d", len(digests), seeds)
	}
}
