package simtest

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/esper-lite/weatherlight/internal/simrun"
	"github.com/esper-lite/weatherlight/weatherlight"
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
	script, err := os.ReadFile("../../oona/internal/delivery/commit.lua")
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

// TestSimulation: see the package's comment for what is held.
func TestSimulation(t *testing.T) {
	found, steps := &tally{}, weatherlight.Outline()
	one := func(t *testing.T, seed uint64) {
		report := Report{Violations: []string{"the simulation did not end: see above"}}
		defer func() { // also when the bubble ends in a deadlock or a panic
			found.add(report)
			if len(report.Violations) > 0 {
				t.Errorf("seed %d: %v\nto repeat: go test ./internal/simtest -count=1 -run '^TestSimulation$' -seed %d -hours %d",
					seed, report, seed, hours)
			}
		}()
		report = simulate(t, Scenario{Seed: seed, Hours: hours, Steps: steps})
	}
	runner.Simulate(t, one, func(seeds int) string {
		t.Logf("%d seeds: %+v", seeds, found.counts)
		return fmt.Sprintf("RESULT sim seeds=%d hours=%d violations=%d", seeds, hours, found.violations)
	})
}
