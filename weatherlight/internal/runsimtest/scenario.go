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

func (c *Counts) add(o Counts) {
	for _, pair := range [][2]*int{
		{&c.Runs, &o.Runs}, {&c.Reports, &o.Reports}, {&c.Saves, &o.Saves}, {&c.Conflicts, &o.Conflicts},
		{&c.Orders, &o.Orders}, {&c.Effects, &o.Effects}, {&c.Twice, &o.Twice},
		{&c.Germinated, &o.Germinated}, {&c.Trained, &o.Trained}, {&c.Blended, &o.Blended}, {&c.Kept, &o.Kept}, {&c.Ended, &o.Ended},
		{&c.Crashes, &o.Crashes}, {&c.Restarts, &o.Restarts}, {&c.Intruders, &o.Intruders}, {&c.Outages, &o.Outages},
		{&c.Flushes, &o.Flushes}, {&c.Losses, &o.Losses}, {&c.Lost, &o.Lost}, {&c.Late, &o.Late}, {&c.Doubled, &o.Doubled},
		{&c.Redelivered, &o.Redelivered}, {&c.Exhausted, &o.Exhausted}, {&c.Foreign, &o.Foreign}, {&c.Expired, &o.Expired},
		{&c.Commands, &o.Commands}, {&c.Buried, &o.Buried}, {&c.Packets, &o.Packets}, {&c.FieldReports, &o.FieldReports},
		{&c.AttachFailures, &o.AttachFailures}, {&c.Unfit, &o.Unfit},
	} {
		*pair[0] += *pair[1]
	}
	c.MaxRecord = max(c.MaxRecord, o.MaxRecord)
}
