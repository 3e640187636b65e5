package runsimtest

import (
	"fmt"
	"strings"
)

// Scenario is one simulation. The same seed repeats it, as far as no real graft
// measures real time in it.
type Scenario struct {
	Seed    uint64
	Defects Defects
	// Folder is where kernels and checkpoints of real grafts lie. Empty: all
	// trainers are models.
	Folder string
	Log    func(line string) // hears what happens; nil: nobody does
}

// Report is what came of a simulation.
type Report struct {
	Violations []string
	Counts     Counts
	Digest     uint64 // of everything that was decided
}

func (r Report) String() string {
	return fmt.Sprintf("%d violations, %+v\n  %s", len(r.Violations), r.Counts, strings.Join(r.Violations, "\n  "))
}

// Counts is how much happened.
type Counts struct {
	Runs, Reports, Saves, Conflicts, Orders, Effects, Twice        int
	Germinated, Trained, Blended, Kept, Ended                      int
	Crashes, Restarts, Intruders, Outages, Flushes, Losses         int
	Lost, Late, Doubled, Redelivered, Exhausted, Foreign, Expired  int
	Commands, Buried, Packets, FieldReports, AttachFailures, Unfit int
	MaxRecord                                                      int // bytes of the largest record with its pending outputs
}
