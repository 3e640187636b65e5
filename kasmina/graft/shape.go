package graft

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// shape is that of one example at a slot: features; sequence, width; or
// channels, height, width.
type shape []int

// batched is the shape of a batch of examples.
func (s shape) batched(examples int) []int { return slices.Insert(slices.Clone(s), 0, examples) }

// size is the number of elements of one example.
func (s shape) size() int {
	size := 1
	for _, d := range s {
		size *= d
	}
	return size
}

// shaped is a batch in the slot's shape. One of flat examples becomes it without
// a copy; any other stays as it is, for the kernel to refuse.
func (s shape) shaped(t *kernel.Tape, batch kernel.Value) (kernel.Value, error) {
	given := batch.Shape()
	if len(given) != 2 || len(s) == 1 || given[1] != s.size() {
		return batch, nil
	}
	return t.Reshape(batch, s.batched(given[0])...)
}

// shapedLike is a value in the shape of another of as many elements.
func shapedLike(t *kernel.Tape, v, like kernel.Value) (kernel.Value, error) {
	if slices.Equal(v.Shape(), like.Shape()) {
		return v, nil
	}
	return t.Reshape(v, like.Shape()...)
}

// misfit says why a kernel does not fit the slot; nil is a fit.
func (s shape) misfit(k *kernel.Kernel) error {
	for _, spec := range []kernel.Spec{k.Input(), k.Output()} {
		if !slices.Equal(spec.Shape[1:], s) {
			return fmt.Errorf("the kernel's %s is %v, the slot is %v", spec.Name, spec.Shape, []int(s))
		}
	}
	return nil
}
