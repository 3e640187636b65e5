package supervise

import (
	"fmt"
	"slices"
)

// State is where a worker is in its life.
type State int

const (
	Created    State = iota // known, not yet started
	Starting                // Run was called, the worker has not said that it is ready
	Running                 // taking work
	BackingOff              // failed, waits for its next start
	Degraded                // failed too often: the circuit is open, waits for its next probe
	Stopping                // asked to stop, has not returned
	Stopped                 // returned after it was asked to stop
	Finished                // a finite worker that has done what it was for
	Failed                  // left down by a Permanent or Fatal error
	Abandoned               // ignored its contexts and was left running
)

// moves is the whole life of a worker: row by row, which states may follow. What is not here does not happen.
var moves = [...][]State{
	Created:    {Starting, Stopped},
	Starting:   {Running, BackingOff, Degraded, Stopping, Finished, Failed},
	Running:    {Running, BackingOff, Degraded, Stopping, Finished, Failed}, // to itself: healthy for ResetAfter
	BackingOff: {Starting, Stopping},
	Degraded:   {Starting, Stopping},
	Stopping:   {Stopped, Abandoned},
	Stopped:    {},
	Finished:   {},
	Failed:     {},
	Abandoned:  {Stopped}, // came back late
}

var stateNames = [...]string{
	Created: "created", Starting: "starting", Running: "running", BackingOff: "backing_off", Degraded: "degraded",
	Stopping: "stopping", Stopped: "stopped", Finished: "finished", Failed: "failed", Abandoned: "abandoned",
}

// String is the state in lower snake case, for logs, metrics and JSON.
func (s State) String() string { return name(stateNames[:], int(s), "State") }

// MarshalText is String, so that a state reads the same in JSON as in a log.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// CanMove reports whether the state to may follow s.
func (s State) CanMove(to State) bool {
	return s >= 0 && int(s) < len(moves) && slices.Contains(moves[s], to)
}

// AtRest reports whether the worker's goroutine is gone and will not come back by itself.
func (s State) AtRest() bool { return s == Stopped || s == Finished || s == Failed }

// IllegalMoveError is a move that the transition table does not have. The state stays From.
type IllegalMoveError struct {
	Worker   string
	From, To State
}

func (e *IllegalMoveError) Error() string {
	return fmt.Sprintf("worker %q cannot go from %s to %s", e.Worker, e.From, e.To)
}

// Circuit is the breaker of one worker.
type Circuit int

const (
	Closed   Circuit = iota // failures are within the budget
	Open                    // too many failures; the next start is a probe
	HalfOpen                // a probe is running, and has not lasted long enough to be believed
)

var circuitNames = [...]string{Closed: "closed", Open: "open", HalfOpen: "half_open"}

// String is the circuit in lower snake case.
func (c Circuit) String() string { return name(circuitNames[:], int(c), "Circuit") }

// MarshalText is String.
func (c Circuit) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func name(names []string, i int, kind string) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, i)
	}
	return names[i]
}
