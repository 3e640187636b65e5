package simtest

import (
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/simrun"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// TestAuditorFindsWhatIsBuiltIn: an audit that finds nothing is worth what it finds when there is something.
func TestAuditorFindsWhatIsBuiltIn(t *testing.T) {
	steps := weatherlight.Outline()
	tests := []struct {
		name    string
		defects Defects
		finding string
	}{
		{"delays are never reset", Defects{Policy: supervise.Policy{ResetAfter: 24 * time.Hour}}, "is not recovered"},
		{"delays are reset too early", Defects{Policy: supervise.Policy{ResetAfter: 20 * time.Second}}, "recovered after 20s"},
		{"delays begin too short", Defects{Policy: supervise.Policy{Base: 100 * time.Millisecond}}, "delay "},
		{"delays grow too long", Defects{Policy: supervise.Policy{Cap: 2 * time.Minute}}, "delay "},
		{"hot loop", Defects{Policy: supervise.Policy{Base: time.Millisecond, Cap: time.Millisecond}}, "6 starts in"},
		{"budget is too wide", Defects{Policy: supervise.Policy{Budget: 30}}, "is closed, expected open"},
		{"budget is too narrow", Defects{Policy: supervise.Policy{Budget: 5}}, "is open, expected closed"},
		{"budget is never forgotten", Defects{Policy: supervise.Policy{BudgetWindow: 24 * time.Hour}}, "is open, expected closed"},
		{"an acknowledged entry is committed again", Defects{DoubleAck: true}, "was settled 2 times"},
		{"a replay is answered", Defects{NoMarks: true}, "took effect 2 times"},
		{"an event is lost", Defects{LoseEvent: 40}, "an event is lost"},
		{"workers stop in start order", Defects{StopUpward: true}, "is stopped before"},
		{"boot steps change places", Defects{SwapSteps: true}, "boot step 4 was"},
		{"an acknowledged message is not kept", Defects{Forgetful: true}, "was acknowledged and is lost"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// A day is rough enough for most; some faults need a rare moment.
			const days = 8
			for seed := range uint64(days) {
				report := simulate(t, Scenario{Seed: seed + 1, Hours: 24, Steps: steps, Defects: test.defects})
				if strings.Contains(strings.Join(report.Violations, "\n"), test.finding) {
					return
				}
			}
			t.Errorf("in %d days nobody says %q", days, test.finding)
		})
	}
}

// TestSeedRepeatsItsRun: what the summary of a failure promises.
func TestSeedRepeatsItsRun(t *testing.T) {
	steps := weatherlight.Outline()
	const seeds = 20
	same, digests := 0, make(map[uint64]bool)
	for seed := range uint64(seeds) {
		s := Scenario{Seed: seed + 1, Hours: 6, Steps: steps}
		first, second := simulate(t, s), simulate(t, s)
		if first.Digest == second.Digest && first.Counts == second.Counts {
			same++
		} else {
			t.Logf("seed %d: %+v and %+v", seed+1, first.Counts, second.Counts)
		}
		digests[first.Digest] = true
	}
	t.Logf("%d of %d seeds repeated every event to the nanosecond", same, seeds)
	if same < seeds*9/10 || len(digests) != seeds {
		t.Errorf("%d of %d seeds repeated their run, %d different runs", same, seeds, len(digests))
	}
}

// TestWorldIsRough: a calm world would prove nothing.
func TestWorldIsRough(t *testing.T) {
	var c Counts
	for seed := range uint64(10) {
		simrun.Add(&c, simulate(t, Scenario{Seed: 100 + seed, Hours: 24, Steps: weatherlight.Outline()}).Counts)
	}
	t.Logf("10 days: %+v", c)
	for name, n := range map[string]int{"failed boots": c.FailedBoots, "kills": c.Kills, "interrupts": c.Interrupts,
		"panics": c.Panics, "degraded": c.Degraded, "recovered": c.Recovered, "abandoned": c.Abandoned,
		"outages": c.Outages, "dead letters": c.Buried} {
		if n < 10 {
			t.Errorf("%s: %d in ten days", name, n)
		}
	}
	if c.Failures < 5000 || c.Answers < 5000 {
		t.Errorf("%d failures, %d answers in ten days", c.Failures, c.Answers)
	}
}
