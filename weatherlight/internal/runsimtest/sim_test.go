package runsimtest

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// fleet runs one seed after the other on every core.
type fleet struct {
	next     atomic.Uint64
	first    uint64
	seeds    uint64
	deadline time.Time // zero for none

	mu         sync.Mutex
	done       int
	violations int
	counts     Counts
}

// realEvery is how many simulations there are to one whose trainers have the real
// graft in them.
const realEvery = 20

// TestRuns: see the package's comment for what is held.
func TestRuns(t *testing.T) {
	f := &fleet{first: max(options.seed, 1), seeds: uint64(max(options.seeds, 1))}
	if options.seed == 0 && options.seeds == 0 {
		f.seeds, f.deadline = 60, time.Now().Add(timeForSeeds)
	}
	t.Cleanup(func() {
		result = fmt.Sprintf("RESULT sim-runs seeds=%d violations=%d runs=%d orders=%d twice=%d",
			f.done, f.violations, f.counts.Runs, f.counts.Effects, f.counts.Twice)
	})
	t.Run("seeds", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				f.work(t)
			})
		}
	})
	t.Logf("%d seeds: %+v", f.done, f.counts)
}

func (f *fleet) work(t *testing.T) {
	for {
		n := f.next.Add(1) - 1
		if n >= f.seeds || !f.deadline.IsZero() && time.Now().After(f.deadline) {
			return
		}
		f.one(t, f.first+n)
	}
}

func (f *fleet) one(t *testing.T, seed uint64) {
	s := Scenario{Seed: seed}
	if seed%realEvery == 0 {
		s.Folder = t.TempDir()
	}
	if options.log {
		s.Log = func(line string) { fmt.Println(line) }
	}
	report := Simulate(s)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done++
	f.violations += len(report.Violations)
	f.counts.add(report.Counts)
	if len(report.Violations) > 0 {
		t.Errorf("seed %d: %v\nto repeat: go test ./weatherlight/internal/runsimtest -count=1 -run '^TestRuns$' -seed %d -log", seed, report, seed)
	}
}
