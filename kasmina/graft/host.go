package graft

import (
	"fmt"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// Host is what the training program does for its seeds. Apply calls it, in the
// goroutine of the training loop. One whose snapshots are to outlast the process is a
// [SnapshotCodec] too.
type Host interface {
	// Snapshot copies what Restore needs. It is called as a seed begins to blend.
	// It may return nil when there is nothing to go back to.
	Snapshot(seedID string) any
	// Restore puts the host back, bit by bit, optimizer state included. A snapshot
	// can be restored more than once.
	Restore(snapshot any, scope Scope) error
	// Optimizer sets hyperparameters from the next step on. It is only called when
	// Config.Accepts names "optimizer".
	Optimizer(id string, hyperparameters map[string]float32) error
}

// Scope is how much of the host a Restore puts back.
type Scope int

const (
	// Touched is what trained because a seed blended: the layers behind its slot
	// when they trained along. When they rest, that is nothing.
	Touched Scope = iota
	// Whole is the model and its optimizer as they were at the snapshot.
	Whole
)

// Weights is a copy of the values of parameters, for the snapshots of a Host.
type Weights [][]float32

// CopyWeights copies the values of parameters.
func CopyWeights(parameters []*kernel.Parameter) Weights {
	weights := make(Weights, len(parameters))
	for i, parameter := range parameters {
		weights[i] = append([]float32(nil), parameter.Value.Data...)
	}
	return weights
}

// Same says that parameters still have the values they were copied with, bit by bit.
func (w Weights) Same(parameters []*kernel.Parameter) bool {
	if len(w) != len(parameters) {
		return false
	}
	for i, parameter := range parameters {
		if !slices.EqualFunc(w[i], parameter.Value.Data, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			return false
		}
	}
	return true
}

// Restore writes the values back, bit by bit, into the parameters they were
// copied from.
func (w Weights) Restore(parameters []*kernel.Parameter) error {
	if err := w.fit(parameters); err != nil {
		return err
	}
	for i, parameter := range parameters {
		copy(parameter.Value.Data, w[i])
	}
	return nil
}

func (w Weights) fit(parameters []*kernel.Parameter) error {
	if len(w) != len(parameters) {
		return fmt.Errorf("graft: restore %d parameters from a copy of %d", len(parameters), len(w))
	}
	for i, parameter := range parameters {
		if len(w[i]) != len(parameter.Value.Data) {
			return fmt.Errorf("graft: restore %s: %d values from a copy of %d",
				parameter.Name, len(parameter.Value.Data), len(w[i]))
		}
	}
	return nil
}
