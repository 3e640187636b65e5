package runsimtest

import (
	"fmt"
	"slices"
	"strings"
)

// guardOf is the guard digest of a kernel for one slot, as the prototype makes it:
// of the JSON that Python writes of the kernel's input, a batch of eight.
func guardOf(slot []int) string {
	shape := append([]int{8}, slot...)
	strides, stride := make([]int, len(shape)), 1
	for i := range slices.Backward(shape) {
		strides[i] = stride
		stride *= shape[i]
	}
	text := fmt.Sprintf(`[{"dtype": "float32", "index": 0, "requires_grad": false, "shape": %s, "stride": %s}]`,
		spaced(shape), spaced(strides))
	return digest(text)
}

func spaced(numbers []int) string { return strings.ReplaceAll(fmt.Sprint(numbers), " ", ", ") }
