package kasmina

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// slot is the shape of one example at the grafted layer: features; sequence,
// width; or channels, height, width.
type slot []int

// batched is the shape of a batch of examples.
func (s slot) batched(examples int) []int { return slices.Insert(slices.Clone(s), 0, examples) }

// size is the number of elements of one example.
func (s slot) size() int {
	size := 1
	for _, d := range s {
		size *= d
	}
	return size
}

// shaped is a batch in the slot's shape. One of flat examples becomes it without
// a copy; any other stays as it is, for the kernel to refuse.
func (s slot) shaped(t *kernel.Tape, batch kernel.Value) (kernel.Value, error) {
	shape := batch.Shape()
	if len(shape) != 2 || len(s) == 1 || shape[1] != s.size() {
		return batch, nil
	}
	return t.Reshape(batch, s.batched(shape[0])...)
}

// shapedLike is a value in the shape of another of as many elements.
func shapedLike(t *kernel.Tape, v, like kernel.Value) (kernel.Value, error) {
	if slices.Equal(v.Shape(), like.Shape()) {
		return v, nil
	}
	return t.Reshape(v, like.Shape()...)
}

// misfit says why a kernel does not fit the slot; empty is a fit.
func (s slot) misfit(k *kernel.Kernel) string {
	for _, spec := range []kernel.Spec{k.Input(), k.Output()} {
		if !slices.Equal(spec.Shape[1:], s) {
			return fmt.Sprintf("kernel's %s is %v, the host's slot is %v", spec.Name, spec.Shape, []int(s))
		}
	}
	return ""
}
