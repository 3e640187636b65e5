package kernel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func must(t testing.TB) func(kernel.Value, error) kernel.Value {
	return func(v kernel.Value, err error) kernel.Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func random(rng *rand.Rand, shape ...int) *kernel.Tensor {
	x := kernel.NewTensor(shape...)
	for i := range x.Data {
		x.Data[i] = float32(rng.NormFloat64())
	}
	return x
}

// blendStep runs a host layer, a seed beside it and the blend of both, and
// backpropagates a classification loss.
func blendStep(t *testing.T, detach bool) (host, seed *kernel.Parameter, branch kernel.Value, tape *kernel.Tape) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	ok := must(t)
	host = kernel.NewParameter("host", random(rng, 6, 4))
	seed = kernel.NewParameter("seed", random(rng, 4, 4))
	tape = kernel.NewTape()
	h := ok(tape.Tanh(ok(tape.MatMul(tape.Constant(random(rng, 8, 6)), tape.Parameter(host)))))
	branch = h
	if detach {
		branch = tape.Detach(h)
	}
	s := ok(tape.Tanh(ok(tape.MatMul(branch, tape.Parameter(seed)))))
	blend := ok(tape.Add(ok(tape.Scale(branch, 0.7)), ok(tape.Scale(s, 0.3))))
	loss := ok(tape.SoftmaxCrossEntropy(blend, []int{0, 1, 2, 3, 0, 1, 2, 3}))
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
	return host, seed, branch, tape
}

func nonZero(x *kernel.Tensor) int {
	count := 0
	for _, v := range x.Data {
		if v != 0 {
			count++
		}
	}
	return count
}

func TestHostGetsExactlyZeroGradientThroughADetachedBlend(t *testing.T) {
	host, seed, branch, _ := blendStep(t, true)
	if n := nonZero(host.Grad); n != 0 {
		t.Errorf("detached: %d host gradients are not zero", n)
	}
	if nonZero(seed.Grad) != len(seed.Grad.Data) {
		t.Error("detached: the seed got no gradient, so the test shows nothing")
	}
	if branch.Grad() != nil {
		t.Error("detached value has storage for a gradient")
	}
	host, _, branch, _ = blendStep(t, false)
	if nonZero(host.Grad) != len(host.Grad.Data) {
		t.Error("control without Detach: the host got no gradient")
	}
	if branch.Grad() == nil {
		t.Error("control without Detach: no storage for a gradient")
	}
}
