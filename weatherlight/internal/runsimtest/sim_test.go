package runsimtest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/esper-lite/weatherlight/internal/simrun"
)

// realEvery is how many simulations there are to one whose trainers have the real
// graft in them.
const realEvery = 20

// tally sums up what the simulations found.
type tally struct {
	mu         sync.Mutex
	violations int
	counts     Counts
}

func (y *tally) add(r Report) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.violations += len(r.Violations)
	simrun.Add(&y.counts, r.Counts)
}

// TestRuns: see the package's comment for what is held.
func TestRuns(t *testing.T) {
	found := &tally{}
	one := func(t *testing.T, seed uint64) {
		s := Scenario{Seed: seed}
		if seed%realEvery == 0 {
			s.Folder = t.TempDir()
		}
		if logs {
			s.Log = func(line string) { fmt.Println(line) }
		}
		report := Simulate(s)
		found.add(report)
		if len(report.Violations) > 0 {
			t.Errorf("seed %d: %v\nto repeat: go test ./weatherlight/internal/runsimtest -count=1 -run '^TestRuns$' -seed %d -log", seed, report, seed)
		}
	}
	runner.Simulate(t, one, func(seeds int) string {
		t.Logf("%d seeds: %+v", seeds, found.counts)
		return fmt.Sprintf("RESULT sim-runs seeds=%d violations=%d runs=%d orders=%d twice=%d",
			seeds, found.violations, found.counts.Runs, found.counts.Effects, found.counts.Twice)
	})
}
