package simtest

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// emptyBus is a bus of the test's own.
func emptyBus(t testing.TB) *Bus {
	t.Helper()
	bus := openBus(t)
	t.Cleanup(bus.Close)
	return bus
}

// openBus is a bus that the caller closes. A cleanup of the test would hold on
// to the buses, and all that is on them, of every seed that one test runs.
func openBus(t testing.TB) *Bus {
	t.Helper()
	script, err := os.ReadFile("../../oona/commit.lua")
	if err != nil {
		t.Fatal(err)
	}
	bus, err := NewBus(string(script))
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

// simulate runs a scenario in a bubble.
func simulate(t *testing.T, s Scenario) (report Report) {
	s.Bus = openBus(t)
	defer s.Bus.Close()
	synctest.Test(t, func(*testing.T) { report = Simulate(s) })
	return report
}

// fleet runs one seed after the other on every core.
type fleet struct {
	steps    []Step
	next     atomic.Uint64
	first    uint64
	seeds    uint64
	deadline time.Time // zero for none

	mu         sync.Mutex
	done       int
	violations int
	counts     Counts
}

// TestSimulation: see the package's comment for what is held.
func TestSimulation(t *testing.T) {
	f := &fleet{steps: deck(t), first: max(options.seed, 1), seeds: uint64(max(options.seeds, 1))}
	if options.seed == 0 && options.seeds == 0 {
		f.seeds, f.deadline = 1000, time.Now().Add(timeForSeeds)
	}
	t.Cleanup(func() {
		result = fmt.Sprintf("RESULT sim seeds=%d hours=%d violations=%d", f.done, options.hours, f.violations)
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
	report := Report{Violations: []string{"the simulation did not end: see above"}}
	defer func() { // also when the bubble ends in a deadlock or a panic
		f.add(report)
		if len(report.Violations) > 0 {
			t.Errorf("seed %d: %v\nto repeat: go test ./internal/simtest -count=1 -run '^TestSimulation$' -seed %d -hours %d",
				seed, report, seed, options.hours)
		}
	}()
	report = simulate(t, Scenario{Seed: seed, Hours: options.hours, Steps: f.steps})
}

func (f *fleet) add(r Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done++
	f.violations += len(r.Violations)
	f.counts.add(r.Counts)
}
