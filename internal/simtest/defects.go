package simtest

import (
	"strings"

	"github.com/esper-lite/weatherlight/supervise"
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

func (d Defects) stopOrder(defs []WorkerDef) []WorkerDef {
	if d.StopUpward {
		return defs
	}
	return reversedDefs(defs)
}

func (d Defects) boot(steps []supervise.Step) []supervise.Step {
	if d.SwapSteps {
		steps[3], steps[4] = steps[4], steps[3]
	}
	return steps
}

// commit is package oona's script, or one that somebody broke.
func (d Defects) commit(script string) string {
	if d.DoubleAck {
		script = strings.Replace(script, "redis.call('XACK', stream, group, id) == 1", "redis.call('XACK', stream, group, id) >= 0", 1)
	}
	if d.NoMarks {
		script = strings.Replace(script, "if holder and holder ~= id then", "if false then", 1)
	}
	return script
}
