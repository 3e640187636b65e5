package kernel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// classifier is a 784-128-10 network on 64 rows, the host of the reference
// trainer.
type classifier struct {
	tape   *kernel.Tape
	x      *kernel.Tensor
	labels []int
	layers []*kernel.Parameter
}

func newClassifier() *classifier {
	rng := rand.New(rand.NewPCG(1, 1))
	c := &classifier{tape: kernel.NewTape(), x: random(rng, 64, 784), labels: make([]int, 64)}
	for _, shape := range [][]int{{784, 128}, {128}, {128, 10}, {10}} {
		c.layers = append(c.layers, kernel.NewParameter("p", random(rng, shape...)))
	}
	for i := range c.labels {
		c.labels[i] = i % 10
	}
	return c
}

func (c *classifier) step(t testing.TB) {
	ok := must(t)
	c.tape.Reset()
	for _, p := range c.layers {
		p.ZeroGrad()
	}
	p := func(i int) kernel.Value { return c.tape.Parameter(c.layers[i]) }
	h := ok(c.tape.Relu(ok(c.tape.Gemm(c.tape.Constant(c.x), p(0), p(1), 1, 1, false, false))))
	logits := ok(c.tape.Gemm(h, p(2), p(3), 1, 1, false, false))
	loss := ok(c.tape.SoftmaxCrossEntropy(logits, c.labels))
	if err := c.tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkClassifier(b *testing.B) {
	c := newClassifier()
	b.ReportAllocs()
	for b.Loop() {
		c.step(b)
	}
}

func BenchmarkGatedBlock(b *testing.B) {
	instance := loaded(b, gated(b, 32, 128)).Instantiate()
	tape, x := kernel.NewTape(), random(rand.New(rand.NewPCG(1, 1)), 64, 32)
	ok := must(b)
	b.ReportAllocs()
	for b.Loop() {
		tape.Reset()
		y := ok(instance.Forward(tape, tape.Input(x)))
		if err := tape.Backward(ok(tape.ReduceMean(y, false))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkForward is a single-threaded forward pass alone.
func BenchmarkForward(b *testing.B) {
	instance := loaded(b, gated(b, 32, 128)).Instantiate()
	tape, x := kernel.NewTape(), random(rand.New(rand.NewPCG(1, 1)), 64, 32)
	b.ReportAllocs()
	for b.Loop() {
		tape.Reset()
		must(b)(instance.Forward(tape, tape.Constant(x)))
	}
}

func BenchmarkLoad(b *testing.B) {
	file := bytesOf(b, gated(b, 32, 2730)) // about 1 MB
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kernel.Load(file); err != nil {
			b.Fatal(err)
		}
	}
}
