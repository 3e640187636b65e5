package kernel

import "math"

// The bounds of the profile. What would pass one is refused before memory is
// taken for it.
const (
	// MaxFileBytes bounds an ONNX file.
	MaxFileBytes = 16 << 20
	// MaxNodes bounds the operators of a graph.
	MaxNodes = 1024

	maxStructureBytes  = 1 << 20 // of a file besides the initialisers' data
	maxFields          = 1 << 16 // of a file, nested ones included
	maxInitializers    = 1024
	maxNameBytes       = 128
	maxTextBytes       = 1 << 16 // of one metadata value or doc string
	maxMetadata        = 64
	maxOperands        = 64
	maxDim             = 1 << 20
	maxConstantInts    = 64      // of a list that is a shape, axes, sizes
	minSlotRank        = 2       // [N, F]
	maxSlotRank        = 4       // [N, C, H, W]
	maxRowElements     = 1 << 22 // of all values of a forward pass of one row
	maxRowMultiplyAdds = 1 << 30
	maxBatchElements   = 1 << 28 // of all values of a forward pass of one batch
)

// batch is the dimension that is free until the kernel runs.
const batch = -1

// rowSize is the number of elements of a shape for one row of the batch, and
// how many of its dimensions are the batch. It stops at the bound of a row.
func rowSize(shape []int) (size int64, batches int) {
	size = 1
	for _, d := range shape {
		if d == batch {
			batches++
			continue
		}
		size *= int64(d)
		if size > maxRowElements {
			return maxRowElements + 1, batches
		}
	}
	return size, batches
}

// saturated multiplies without wrapping round.
func saturated(factors ...int64) int64 {
	product := int64(1)
	for _, f := range factors {
		if f != 0 && product > math.MaxInt64/f {
			return math.MaxInt64
		}
		product *= f
	}
	return product
}

// checkShape refuses what no value of a kernel may be.
func checkShape(what string, shape []int) error {
	if len(shape) > maxRank {
		return refuse("%s has %d dimensions, at most %d are allowed", what, len(shape), maxRank)
	}
	for _, d := range shape {
		if d != batch && (d < 1 || d > maxDim) {
			return refuse("%s has a dimension of %d, allowed are 1 to %d", what, d, maxDim)
		}
	}
	size, batches := rowSize(shape)
	if batches > 1 {
		return refuse("%s grows with the square of the batch", what)
	}
	if size > maxRowElements {
		return refuse("%s has more than %d elements", what, maxRowElements)
	}
	return nil
}

// checkName refuses an identifier that is empty, long, or not plain text. A
// comma would break the list of frozen names.
func checkName(what, name string) error {
	if name == "" || len(name) > maxNameBytes {
		return refuse("%s name of %d bytes, allowed are 1 to %d", what, len(name), maxNameBytes)
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' || c == ',' {
			return refuse("%s name %q is not plain ASCII without commas", what, name)
		}
	}
	return nil
}
