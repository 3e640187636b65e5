package simtest

import (
	"fmt"
	"strings"

	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight"
)

// Defects are built into a scenario on purpose, to see that the auditor finds them. The zero value has none.
type Defects struct {
	Policy     supervise.Policy // instead of the service's
	DoubleAck  bool             // the bus commits also what is not pending any more
	NoMarks    bool             // the bus does not look at replay marks
	LoseEvent  int              // the n-th event of each process is not told
	StopUpward bool             // workers stop in the order in which they started
	SwapSteps  bool             // two boot steps change places
	Forgetful  bool             // the bus acknowledges every fiftieth publication without keeping it
}

func (d Defects) hook(tell func(supervise.Event)) func(supervise.Event) {
	if d.LoseEvent == 0 {
		return tell
	}
	n := 0
	return func(e supervise.Event) {
		if n++; n != d.LoseEvent {
			tell(e)
		}
	}
}

func (d Defects) stopOrder(defs []weatherlight.Worker) []weatherlight.Worker {
	if d.StopUpward {
		return defs
	}
	return reversed(defs)
}

func (d Defects) boot(steps []supervise.Step) []supervise.Step {
	if d.SwapSteps {
		steps[3], steps[4] = steps[4], steps[3]
	}
	return steps
}

// commit is package oona's script, or one that is broken. It is an error when the script has not what is to be broken:
// a defect that is not there is found by nobody.
func (d Defects) commit(script string) (string, error) {
	broken := []struct {
		wanted   bool
		old, new string
	}{
		{d.DoubleAck, "must('XACK', stream, group, id) == 1", "must('XACK', stream, group, id) >= 0"},
		{d.NoMarks, "if not free then", "if false then"},
	}
	for _, b := range broken {
		if !b.wanted {
			continue
		}
		if strings.Count(script, b.old) != 1 {
			return "", fmt.Errorf("the commit script has not exactly one %q to break", b.old)
		}
		script = strings.Replace(script, b.old, b.new, 1)
	}
	return script, nil
}
