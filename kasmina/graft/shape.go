package graft

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

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

// guardBatch is the number of examples that a guard digest speaks of.
const guardBatch = 8

// guardDigest is the digest of the guard specification of a kernel for the slot:
// JSON with sorted keys and a space after each comma and colon.
func (s shape) guardDigest() string {
	sizes := s.batched(guardBatch)
	strides, step := make([]int, len(sizes)), 1
	for i := len(sizes) - 1; i >= 0; i-- {
		strides[i] = step
		step *= sizes[i]
	}
	return hexSum(fmt.Sprintf(`[{"dtype": "float32", "index": 0, "requires_grad": false, "shape": [%s], "stride": [%s]}]`,
		joinInts(sizes), joinInts(strides)))
}

// maxTier is the highest tier of a blueprint.
const maxTier = 3

// guards says whether a digest is that of the slot. The library's stand-in, for
// a kernel whose shapes it was not told, says nothing about the slot.
func (s shape) guards(digest, blueprint string) bool {
	if digest == "" || digest == s.guardDigest() {
		return true
	}
	for tier := range maxTier + 1 {
		if digest == hexSum(blueprint+":"+strconv.Itoa(tier)) {
			return true
		}
	}
	return false
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func joinInts(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ", ")
}
