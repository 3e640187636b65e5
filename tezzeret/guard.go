package tezzeret

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// GuardTensor is what a kernel demands of one input, in the form of the guard
// specification of the catalogue's extras.
type GuardTensor struct {
	DType        string `json:"dtype"`
	Index        int    `json:"index"`
	RequiresGrad bool   `json:"requires_grad"`
	Shape        []int  `json:"shape"`
	Stride       []int  `json:"stride"`
}

// guardSpec describes float32 inputs of the given shapes in dense row-major
// order.
func guardSpec(shapes ...[]int) []GuardTensor {
	spec := make([]GuardTensor, len(shapes))
	for i, shape := range shapes {
		spec[i] = GuardTensor{DType: "float32", Index: i, Shape: shape, Stride: strides(shape)}
	}
	return spec
}

func strides(shape []int) []int {
	stride, step := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = step
		step *= shape[i]
	}
	return stride
}

// guardDigest is the lower-case hexadecimal SHA-256 of the specification as
// the prototype writes it: JSON with sorted keys and a space after each comma
// and colon.
func guardDigest(spec []GuardTensor) string {
	entries := make([]string, len(spec))
	for i, g := range spec {
		entries[i] = fmt.Sprintf(`{"dtype": %q, "index": %d, "requires_grad": %t, "shape": %s, "stride": %s}`,
			g.DType, g.Index, g.RequiresGrad, spacedList(g.Shape), spacedList(g.Stride))
	}
	digest := sha256.Sum256([]byte("[" + strings.Join(entries, ", ") + "]"))
	return hex.EncodeToString(digest[:])
}

// guardSummary is one short text an input, such as "float32[8x32]".
func guardSummary(spec []GuardTensor) []string {
	summary := make([]string, len(spec))
	for i, g := range spec {
		dims := "scalar"
		if len(g.Shape) > 0 {
			dims = joined(g.Shape, "x")
		}
		summary[i] = g.DType + "[" + dims + "]"
	}
	return summary
}

func spacedList(numbers []int) string { return "[" + joined(numbers, ", ") + "]" }

func joined(numbers []int, separator string) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, separator)
}
