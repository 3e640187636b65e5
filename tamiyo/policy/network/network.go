// Package network evaluates a policy: Read makes a Network of a payload, and a Decider is one
// that is in force, by the name of its version.
package network

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/kernel"
)

// Features is the width of the rows that a network is given and gives back.
const Features = 36

// Network is a policy that is evaluated: a kernel whose slot is a row of features. It is
// safe for concurrent use, and the same rows always give the same answers.
type Network struct {
	kernel *kernel.Kernel
	free   sync.Pool // of *evaluator, one for each that is asked at a time
}

// evaluator is what one who asks needs for herself.
type evaluator struct {
	instance *kernel.Instance
	tape     *kernel.Tape
}

const (
	// maxWork bounds what one row takes, in multiply-adds: a step has milliseconds for all of them.
	maxWork = 1 << 18
	// breath is about how much is done between two looks at the time.
	breath = 1 << 20
)

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
	if loaded.Work() > maxWork {
		return nil, fmt.Errorf("%w: a row takes as long as %d multiply-adds, at most %d", ErrUnusable, loaded.Work(), maxWork)
	}
	return &Network{kernel: loaded}, nil
}

// Judge answers rows of features, one for each. It looks at the time every few rows: who is out
// of time has no answer.
func (n *Network) Judge(ctx context.Context, rows [][]float32) ([][]float32, error) {
	for i, row := range rows {
		if len(row) != Features {
			return nil, fmt.Errorf("row %d has %d features, want %d", i, len(row), Features)
		}
	}
	own, known := n.free.Get().(*evaluator)
	if !known {
		own = &evaluator{n.kernel.Instantiate(), kernel.NewTape()}
	}
	defer n.free.Put(own)
	answers := make([][]float32, 0, len(rows))
	for some := range slices.Chunk(rows, max(1, int(breath/n.kernel.Work()))) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("evaluate policy: %w", err)
		}
		answered, err := own.judge(some)
		if err != nil {
			return nil, fmt.Errorf("evaluate policy: %w", err)
		}
		answers = append(answers, answered...)
	}
	if err := ctx.Err(); err != nil { // an answer that comes late is none either
		return nil, fmt.Errorf("evaluate policy: %w", err)
	}
	return answers, nil
}

// judge answers rows all at once.
func (e *evaluator) judge(rows [][]float32) ([][]float32, error) {
	flat := slices.Concat(rows...)
	e.tape.Reset()
	out, err := e.instance.Forward(e.tape, e.tape.Constant(kernel.FromSlice(flat, len(rows), Features)))
	if err != nil {
		return nil, err
	}
	answered := slices.Clone(out.Tensor().Data) // the tape's own goes with the next call
	if slices.ContainsFunc(answered, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }) {
		return nil, errors.New("an answer is no number")
	}
	return slices.Collect(slices.Chunk(answered, Features)), nil
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
