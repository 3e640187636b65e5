package kernel_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kernel"
)

// mixCase is a shape and shares that broadcast to it.
type mixCase struct{ shape, shares []int }

func drawMix(t *rapid.T) mixCase {
	shape := rapid.SliceOfN(rapid.IntRange(1, 4), 1, 4).Draw(t, "shape")
	shares := slices.Clone(shape[rapid.IntRange(0, len(shape)).Draw(t, "dropped"):])
	for i := range shares {
		if rapid.Bool().Draw(t, "one") {
			shares[i] = 1
		}
	}
	return mixCase{shape, shares}
}

// shareAt is the share of an element, found the slow way.
func (c mixCase) shareAt(shares []float32, element int) float32 {
	index, stride := 0, 1
	for i, size := range slices.Backward(c.shape) {
		at := i - (len(c.shape) - len(c.shares))
		if at >= 0 {
			if c.shares[at] > 1 {
				index += element % size * stride
			}
			stride *= c.shares[at]
		}
		element /= size
	}
	return shares[index]
}

func TestMixLiesBetweenItsOperandsAndIsOneOfThemAtTheEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawMix(t)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		a, b, shares := kernel.NewTensor(c.shape...), kernel.NewTensor(c.shape...), kernel.NewTensor(c.shares...)
		for i := range a.Data {
			a.Data[i], b.Data[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
			if rng.IntN(2) == 0 { // where rounding shows
				b.Data[i] = a.Data[i]
			}
		}
		for i := range shares.Data {
			shares.Data[i] = []float32{0, 1, rng.Float32(), rng.Float32()}[rng.IntN(4)]
		}
		for i := range a.Data { // what must not leak
			if c.shareAt(shares.Data, i) == 0 {
				a.Data[i] = float32(math.NaN())
			}
		}
		tape := kernel.NewTape()
		x, y := tape.Input(a), tape.Input(b)
		out, err := tape.Mix(shares, x, y)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := tape.ReduceSum(out, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := tape.Backward(sum); err != nil {
			t.Fatal(err)
		}
		for i, got := range out.Tensor().Data {
			e := c.shareAt(shares.Data, i)
			low, high := min(a.Data[i], b.Data[i]), max(a.Data[i], b.Data[i])
			switch {
			case e == 0 && math.Float32bits(got) != math.Float32bits(b.Data[i]),
				e == 1 && math.Float32bits(got) != math.Float32bits(a.Data[i]),
				e > 0 && e < 1 && (got < low || got > high || math.IsNaN(float64(got))):
				t.Fatalf("element %d with share %v: %v of %v and %v", i, e, got, a.Data[i], b.Data[i])
			}
			if x.Grad().Data[i] != e || y.Grad().Data[i] != 1-e {
				t.Fatalf("element %d with share %v: gradients %v and %v", i, e, x.Grad().Data[i], y.Grad().Data[i])
			}
		}
	})
}

func TestMixGivesNegativeZeroBack(t *testing.T) {
	t.Parallel()
	tape := kernel.NewTape()
	minus := float32(math.Copysign(0, -1))
	a, b := kernel.FromSlice([]float32{float32(math.Inf(1))}, 1), kernel.FromSlice([]float32{minus}, 1)
	out, err := tape.Mix(kernel.FromSlice([]float32{0}), tape.Constant(a), tape.Constant(b))
	if err != nil || math.Float32bits(out.Tensor().Data[0]) != math.Float32bits(minus) {
		t.Errorf("%v, %v", out.Tensor(), err)
	}
	if out.Grad() != nil {
		t.Error("a mix of constants has a gradient")
	}
}

func TestMixRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	tape := kernel.NewTape()
	two, three := tape.Constant(kernel.NewTensor(2, 2)), tape.Constant(kernel.NewTensor(2, 3))
	for name, err := range map[string]error{
		"operands": second(tape.Mix(kernel.NewTensor(), two, three)),
		"shares":   second(tape.Mix(kernel.NewTensor(3), two, two)),
		"rank":     second(tape.Mix(kernel.NewTensor(1, 2, 2), two, two)),
		"none":     second(tape.Mix(nil, two, two)),
		"above":    second(tape.Mix(kernel.FromSlice([]float32{1.5}), two, two)),
		"below":    second(tape.Mix(kernel.FromSlice([]float32{-0.5}), two, two)),
		"NaN":      second(tape.Mix(kernel.FromSlice([]float32{float32(math.NaN())}), two, two)),
	} {
		if !errors.Is(err, kernel.ErrShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ kernel.Value, err error) error { return err }

func TestInferenceLeavesTheModeAsItWas(t *testing.T) {
	t.Parallel()
	tape := kernel.NewTape()
	tape.Train(rand.New(rand.NewPCG(1, 1)))
	tape.Inference(func() {
		if tape.Training() {
			t.Error("inference in training mode")
		}
	})
	if !tape.Training() {
		t.Error("the mode was lost")
	}
}
