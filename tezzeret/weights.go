package tezzeret

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// gentle scales the last layer of a residual branch: small enough that the
// block starts near the identity, not zero, so that every layer before it
// receives a gradient from the first step.
const gentle = 0.05

// maxWeights is how many numbers a kernel file can hold.
const maxWeights = kernel.MaxFileBytes / 4

// weights draws initial values. Each value is one exact integer times one
// bound, rounded once, so that every machine draws the same bits.
type weights struct {
	source *rand.PCG
	left   int64 // numbers that the kernel has room for; negative once it has not
}

// newWeights seeds the generator with the SHA-256 of what identifies a kernel.
func newWeights(blueprintID string, params map[string]float64, slot Slot) *weights {
	text := fmt.Sprintf("%s\n%s\n%s", blueprintID, canonical(params), slot)
	digest := sha256.Sum256([]byte(text))
	high, low := binary.BigEndian.Uint64(digest[:8]), binary.BigEndian.Uint64(digest[8:16])
	return &weights{source: rand.NewPCG(high, low), left: maxWeights}
}

// tensor returns a tensor of zeros, or one without data when the kernel has no room
// for it: no memory is taken for what is going to be refused.
func (w *weights) tensor(shape ...int) *kernel.Tensor {
	size := int64(1)
	for _, n := range shape {
		size = min(size*int64(n), math.MaxInt32) // the next factor is at most as large
	}
	if w.left -= size; w.left < 0 {
		return &kernel.Tensor{Shape: slices.Clone(shape)}
	}
	return kernel.NewTensor(shape...)
}

// made returns a tensor of what of gives for each place, in row-major order.
func (w *weights) made(of func(i int) float32, shape ...int) *kernel.Tensor {
	t := w.tensor(shape...)
	for i := range t.Data {
		t.Data[i] = of(i)
	}
	return t
}

// cells is made for a matrix.
func (w *weights) cells(rows, columns int, of func(row, column int) float32) *kernel.Tensor {
	return w.made(func(i int) float32 { return of(i/columns, i%columns) }, rows, columns)
}

// uniform returns a tensor of values in [-bound, bound).
func (w *weights) uniform(bound float64, shape ...int) *kernel.Tensor {
	const half = 1 << 23
	return w.made(func(int) float32 {
		signed := int64(w.source.Uint64()>>40) - half
		return float32(float64(signed) * (bound / half))
	}, shape...)
}

// he is the uniform initialisation for a ReLU layer of the given inputs
// (He et al. 2015, "Delving deep into rectifiers").
func (w *weights) he(in, out int) *kernel.Tensor {
	return w.uniform(math.Sqrt(6/float64(in)), in, out)
}

// glorot is the uniform initialisation for a saturating or linear layer
// (Glorot and Bengio 2010, "Understanding the difficulty of training deep
// feedforward neural networks").
func (w *weights) glorot(in, out int) *kernel.Tensor {
	return w.uniform(math.Sqrt(6/float64(in+out)), in, out)
}

// small is the last layer of a residual branch.
func (w *weights) small(in, out int) *kernel.Tensor {
	return w.uniform(gentle*math.Sqrt(6/float64(in+out)), in, out)
}

// nearIdentity is factor times the identity plus a little noise, for layers
// that should start by passing their first out inputs on.
func (w *weights) nearIdentity(factor float64, in, out int) *kernel.Tensor {
	t := w.small(in, out)
	if t.Data == nil {
		return t
	}
	for i := range out {
		t.Data[i*out+i] = float32(float64(t.Data[i*out+i]) + factor)
	}
	return t
}

// filled returns a tensor of one value.
func (w *weights) filled(value float64, shape ...int) *kernel.Tensor {
	return w.made(func(int) float32 { return float32(value) }, shape...)
}

// rounded rounds to a multiple of 2^-20, on which all machines agree.
func rounded(v float64) float32 { return float32(math.Round(v*(1<<20)) / (1 << 20)) }
