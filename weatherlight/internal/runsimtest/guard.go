package runsimtest

import (
	"fmt"
	"slices"
	"strconv"
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
	return digest(fmt.Sprintf(`[{"dtype": "float32", "index": 0, "requires_grad": false, "shape": [%s], "stride": [%s]}]`,
		list(shape), list(strides)))
}

func list(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ", ")
}
