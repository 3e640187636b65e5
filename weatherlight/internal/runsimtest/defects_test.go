package runsimtest

import (
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/simrun"
)

// TestAuditorFindsWhatIsBuiltIn: an audit that finds nothing is worth what it
// finds when there is something. Not every simulation gives a defect the occasion
// to show, so some are tried.
func TestAuditorFindsWhatIsBuiltIn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		defects Defects
		finding string
	}{
		{"the store does not look at versions", Defects{BlindWrites: true}, "is another than before"},
		{"pending outputs are not kept", Defects{ForgetsPending: true}, "never published"},
		{"nothing comes due", Defects{NoIndex: true}, "its trainer fell silent"},
		{"what a dead instance left is not published", Defects{SkipsRecovery: true}, "was decided and not published"},
		{"two orders have one number", Defects{ReusesNumbers: true}, "is another than before"},
		{"a kernel is attached that nobody announced", Defects{ForgesKernels: true}, "attaches a kernel that was not announced"},
		{"a stage is skipped", Defects{SkipsStages: true}, "(hold) to seed"},
		{"nobody tells what happens", Defects{Mute: true}, "nobody tells that seed"},
		{"a leak is not acted on", Defects{DeafToLeaks: true}, "its gradients reached the host"},
		{"a kernel is blamed for its transport", Defects{BlamesKernel: true}, "is written off"},
		{"a CULL is lost", Defects{LosesCulls: true}, "the CULL that came after its GERMINATE"},
		{"trainers that only report are steered", Defects{Meddles: true}, "only report"},
		{"a field report changes", Defects{Rewrites: true}, "is another than before"},
		{"commands have no time", Defects{Hasty: true}, "is refused as deadline_exceeded"},
		{"orders are applied again", Defects{AppliesTwice: true}, "took effect twice"},
		{"trainers hide what they keep", Defects{HidesKept: true}, "of which the record knows nothing"},
	}
	const tries = 25
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(tries) {
				report := Simulate(Scenario{Seed: seed + 1, Defects: test.defects})
				if strings.Contains(strings.Join(report.Violations, "\n"), test.finding) {
					t.Logf("found by seed %d", seed+1)
					return
				}
			}
			t.Errorf("nobody says %q", test.finding)
		})
	}
}

// TestWorldIsRough: a calm world would prove nothing.
func TestWorldIsRough(t *testing.T) {
	var c Counts
	for seed := range uint64(12) {
		simrun.Add(&c, Simulate(Scenario{Seed: 500 + seed}).Counts)
	}
	t.Logf("%+v", c)
	for name, n := range map[string]int{
		"conflicts": c.Conflicts, "crashes": c.Crashes, "restarts": c.Restarts, "second trainers": c.Intruders, "outages": c.Outages,
		"flushes": c.Flushes, "lost records": c.Losses, "lost reports": c.Lost, "late messages": c.Late, "doubled": c.Doubled,
		"redelivered": c.Redelivered, "seeds": c.Trained, "kept seeds": c.Kept, "failed attaches": c.AttachFailures,
		"orders": c.Orders, "commands": c.Commands, "dead letters": c.Buried,
	} {
		if n < 5 {
			t.Errorf("%s: %d", name, n)
		}
	}
}
