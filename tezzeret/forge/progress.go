package forge

import (
	"slices"
	"time"
)

// State is where one blueprint of a pass is.
type State string

// States of a blueprint. All but compiling are final for the pass.
const (
	StateRefused   State = "refused"   // not compilable; Err says why
	StatePresent   State = "present"   // the library has it already
	StateCompiling State = "compiling" // started
	StateCompiled  State = "compiled"  // stored
	StateFailed    State = "failed"    // every attempt failed; Err is the last one's
	StateSkipped   State = "skipped"   // the circuit was open
	StateParked    State = "parked"    // failed before and left alone for a while; Err wraps ErrParked
)

// Progress is one step of one blueprint. Index counts from 1 to Total, in
// catalogue order.
type Progress struct {
	BlueprintID, Name string
	State             State
	Index, Total      int
	Took              time.Duration
	Err               error
}

// Job is what became of one blueprint. Checksum and ArtifactRef are set when
// it was compiled.
type Job struct {
	BlueprintID, Name     string
	Checksum, ArtifactRef string
	Took                  time.Duration
	Err                   error
}

// Result is what became of the blueprints of one pass, each list in the
// order of their turns.
type Result struct {
	Compiled, Present, Refused, Failed, Skipped, Parked []Job
}

// Result returns what the pass that runs, or the last one, has come to.
func (f *Forge) Result() Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := func(state State) []Job { return slices.Clone(f.ended[state]) }
	return Result{
		Compiled: of(StateCompiled), Present: of(StatePresent), Refused: of(StateRefused),
		Failed: of(StateFailed), Skipped: of(StateSkipped), Parked: of(StateParked),
	}
}

func (f *Forge) resetResult() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = make(map[State][]Job)
}

// finish records a final state and tells about it.
func (f *Forge) finish(j job, state State, err error) {
	f.mu.Lock()
	f.ended[state] = append(f.ended[state], Job{
		BlueprintID: j.descriptor.GetBlueprintId(), Name: j.descriptor.GetName(), Took: j.took, Err: err,
		Checksum: j.stored.GetChecksum(), ArtifactRef: j.stored.GetArtifactRef(),
	})
	f.mu.Unlock()
	f.progress(j, state, err)
}

func (f *Forge) progress(j job, state State, err error) {
	f.config.Progress(Progress{
		BlueprintID: j.descriptor.GetBlueprintId(), Name: j.descriptor.GetName(),
		State: state, Index: j.index, Total: j.total, Took: j.took, Err: err,
	})
}
