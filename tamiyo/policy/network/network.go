// Package network evaluates a policy: Read makes a Network of a payload, and a Decider is one
// that is in force, by the name of its version.
package network

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/kernel"
)

// Features is the width of the rows that a network is given and gives back.
const Features = 24

// Network is a policy that is evaluated: a kernel whose slot is a row of features. It is
// safe for concurrent use, and the same rows always give the same answers.
type Network struct {
	mu       sync.Mutex
	instance *kernel.Instance
	tape     *kernel.Tape
}

// maxMultiplyAdds bounds the work of one row: a step has milliseconds for all of them.
const maxMultiplyAdds = 1 << 17

// ErrUnusable is told of a payload that is no network of the form that can be evaluated.
var ErrUnusable = errors.New("no network of a policy")

// Read reads a payload through the kernels' strict profile.
func Read(payload []byte) (*Network, error) {
	loaded, err := kernel.Load(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	if want := []int{-1, Features}; !slices.Equal(loaded.Input().Shape, want) || !slices.Equal(loaded.Output().Shape, want) {
		return nil, fmt.Errorf("%w: from %v to %v, want %v", ErrUnusable, loaded.Input().Shape, loaded.Output().Shape, want)
	}
	if loaded.MultiplyAdds() > maxMultiplyAdds {
		return nil, fmt.Errorf("%w: %d multiply-adds a row, at most %d", ErrUnusable, loaded.MultiplyAdds(), maxMultiplyAdds)
	}
	return &Network{instance: loaded.Instantiate(), tape: kernel.NewTape()}, nil
}

// Judge answers rows of features, one for each, all at once.
func (n *Network) Judge(rows [][]float32) ([][]float32, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	flat := make([]float32, 0, len(rows)*Features)
	for i, row := range rows {
		if len(row) != Features {
			return nil, fmt.Errorf("row %d has %d features, want %d", i, len(row), Features)
		}
		flat = append(flat, row...)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tape.Reset()
	out, err := n.instance.Forward(n.tape, n.tape.Constant(kernel.FromSlice(flat, len(rows), Features)))
	if err != nil {
		return nil, fmt.Errorf("evaluate policy: %w", err)
	}
	answered := slices.Clone(out.Tensor().Data) // the tape's own goes with the next call
	answers := make([][]float32, len(rows))
	for i := range answers {
		answers[i] = answered[i*Features : (i+1)*Features]
		if slices.ContainsFunc(answers[i], func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
			return nil, fmt.Errorf("evaluate policy: the answer to row %d is no number", i)
		}
	}
	return answers, nil
}

// Decider is a policy that is asked.
type Decider struct {
	*Network
	version string
}

// Named is the decider of a network, by the version that its update named.
func Named(n *Network, version string) *Decider { return &Decider{n, version} }

// Version is the policy's, as its update named it.
func (d *Decider) Version() string { return d.version }
