package graft_test

import (
	"math/rand/v2"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// reference is a small host of three layers with a slot behind the first, and a
// plain gradient descent.
type reference struct {
	tape       *kernel.Tape
	parameters []*kernel.Parameter
	batch      *kernel.Tensor
	labels     []int
}

const (
	referenceInputs = 196
	referenceWidth  = 128
	referenceBatch  = 64
)

func newReference() *reference {
	rng := rand.New(rand.NewPCG(1, 1))
	r := &reference{tape: kernel.NewTape(), batch: normal(rng, referenceBatch, referenceInputs)}
	for _, shape := range [][]int{{referenceInputs, referenceWidth}, {referenceWidth, referenceWidth}, {referenceWidth, 10}} {
		weight := normal(rng, shape...)
		for i := range weight.Data {
			weight.Data[i] *= 0.05
		}
		r.parameters = append(r.parameters, kernel.NewParameter("w", weight))
	}
	for i := range referenceBatch {
		r.labels = append(r.labels, i%10)
	}
	return r
}

func identity(_ *kernel.Tape, host kernel.Value) (kernel.Value, error) { return host, nil }

// step is one step of training; the host rests when seeds learn.
func (r *reference) step(b testing.TB, slot pass, learning []*kernel.Parameter, finish func()) {
	r.tape.Reset()
	x := r.tape.Constant(r.batch)
	for i, parameter := range r.parameters {
		var err error
		if x, err = r.tape.MatMul(x, r.tape.Parameter(parameter)); err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			if x, err = slot(r.tape, x); err != nil {
				b.Fatal(err)
			}
		}
		if i < len(r.parameters)-1 {
			if x, err = r.tape.Relu(x); err != nil {
				b.Fatal(err)
			}
		}
	}
	loss, err := r.tape.SoftmaxCrossEntropy(x, r.labels)
	if err == nil {
		err = r.tape.Backward(loss)
	}
	if err != nil {
		b.Fatal(err)
	}
	finish()
	for _, list := range [][]*kernel.Parameter{r.parameters, learning} {
		for _, parameter := range list {
			for i, g := range parameter.Grad.Data {
				parameter.Value.Data[i] -= 1e-5 * g
			}
			parameter.ZeroGrad()
		}
	}
}

// feedForward is seed = host + relu(host·w1)·w2, hidden wide.
func feedForward(t testing.TB, width, hidden int) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	up, down := normal(rng, width, hidden), normal(rng, hidden, width)
	for i := range up.Data {
		up.Data[i], down.Data[i] = up.Data[i]*0.05, down.Data[i]*0.01
	}
	b := kernel.NewBuilder("feed_forward", width)
	b.Init("up", up)
	b.Init("down", down)
	b.Node("MatMul", []string{"host", "up"}, "wide")
	b.Node("Relu", []string{"wide"}, "bent")
	b.Node("MatMul", []string{"bent", "down"}, "narrow")
	b.Node("Add", []string{"host", "narrow"}, "seed")
	return fileOf(t, b)
}

// BenchmarkCalls is what the training loop spends on a graft without seeds.
func BenchmarkCalls(b *testing.B) {
	w, tape := newWorld(b, nil, 4), kernel.NewTape()
	host := tape.Input(row(1, 2, 3, 4))
	for b.Loop() {
		w.graft.Apply()
		if _, err := w.slot.Output(tape, host); err != nil {
			b.Fatal(err)
		}
		w.graft.Step()
	}
}

func BenchmarkStep(b *testing.B) {
	w := newWorld(b, nil, referenceWidth)
	loop := func() {
		w.graft.Apply()
		w.graft.Step()
	}
	b.Run("host alone", func(b *testing.B) {
		r := newReference()
		for b.Loop() {
			r.step(b, identity, nil, func() {})
		}
	})
	b.Run("graft without seeds", func(b *testing.B) {
		r := newReference()
		for b.Loop() {
			r.step(b, w.slot.Output, nil, loop)
		}
	})
	order := w.attachOrder("s", feedForward(b, referenceWidth, 4*referenceWidth), trainer.Blend{})
	order.Schedule = trainer.Schedule{Shape: trainer.ShapeLinear, Steps: 1 << 20, Temperature: 1}
	w.send(order)
	w.grow("s", stageBlending)
	parameters := w.slot.Parameters("s")
	b.Run("seed's own work", func(b *testing.B) {
		r := newReference()
		loaded, err := kernel.Load(feedForward(b, referenceWidth, 4*referenceWidth))
		if err != nil {
			b.Fatal(err)
		}
		instance := loaded.Instantiate()
		own := func(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
			return instance.Forward(t, t.Detach(host))
		}
		for b.Loop() {
			r.step(b, own, instance.Parameters(), func() {})
		}
	})
	b.Run("seed blending", func(b *testing.B) {
		r := newReference()
		for b.Loop() {
			r.step(b, w.slot.Output, parameters, loop)
		}
	})
}

// BenchmarkReport is what the training loop spends on a report of four seeds.
func BenchmarkReport(b *testing.B) {
	w := newWorld(b, nil, 64)
	for i := range 4 {
		w.plant(string(rune('a'+i)), mixing(b, 1, 64), trainer.Blend{}, stageBlending)
	}
	w.bus.set(errRefused, nil)
	for b.Loop() {
		w.graft.Report(nil, nil)
	}
}
