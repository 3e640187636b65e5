package graft_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// forms are the forms of a slot.
func forms() [][]int { return [][]int{{4}, {3, 4}, {2, 3, 4}} }

// network is a host with a linear layer in front of a slot: it gives examples in
// the slot's shape, or as flat rows.
type network struct {
	*world
	shape  []int
	flat   bool
	weight *kernel.Parameter
	inputs *kernel.Tensor
	sense  *kernel.Tensor // what each element of the output counts in the loss
}

const (
	examples = 3
	inputs   = 2
)

func newNetwork(w *world, rng *rand.Rand, flat bool) *network {
	size := 1
	for _, d := range w.slot.Shape() {
		size *= d
	}
	n := &network{world: w, shape: w.slot.Shape(), flat: flat, inputs: normal(rng, examples, inputs)}
	n.weight = kernel.NewParameter("weight", normal(rng, inputs, size))
	n.sense = normal(rng, examples, size)
	return n
}

// host is the activations in front of the slot.
func (n *network) host(t *kernel.Tape) kernel.Value {
	n.Helper()
	host, err := t.MatMul(t.Constant(n.inputs), t.Parameter(n.weight))
	if err == nil && !n.flat {
		host, err = t.Reshape(host, slices.Insert(slices.Clone(n.shape), 0, examples)...)
	}
	if err != nil {
		n.Fatal(err)
	}
	return host
}

type pass func(*kernel.Tape, kernel.Value) (kernel.Value, error)

// loss is the weighted sum of what comes out, and what went in and came out.
func (n *network) loss(t *kernel.Tape, through pass) (loss, host, out kernel.Value) {
	n.Helper()
	host = n.host(t)
	out, err := through(t, host)
	if err != nil {
		n.Fatal(err)
	}
	if !slices.Equal(out.Shape(), host.Shape()) {
		n.Fatalf("the output is %v, given was %v", out.Shape(), host.Shape())
	}
	sense := kernel.FromSlice(n.sense.Data, out.Shape()...)
	weighted, err := t.Mul(out, t.Constant(sense))
	if err == nil {
		loss, err = t.ReduceSum(weighted, false)
	}
	if err != nil {
		n.Fatal(err)
	}
	return loss, host, out
}

// number is the loss in full precision.
func (n *network) number(through pass) float64 {
	_, _, out := n.loss(kernel.NewTape(), through)
	sum := 0.0
	for i, v := range out.Tensor().Data {
		sum += float64(v) * float64(n.sense.Data[i])
	}
	return sum
}

// checkSlopes holds gradients against finite differences.
func (n *network) checkSlopes(t interface{ Fatalf(string, ...any) }, p *kernel.Parameter, through pass) {
	const step = 1e-2
	for i := range p.Value.Data {
		at := p.Value.Data[i]
		p.Value.Data[i] = at + step
		above := n.number(through)
		p.Value.Data[i] = at - step
		below := n.number(through)
		p.Value.Data[i] = at
		slope, got := (above-below)/(2*step), float64(p.Grad.Data[i])
		if math.Abs(slope-got) > 5e-3+1e-2*math.Abs(slope) {
			t.Fatalf("%s %d: the gradient is %v, the slope %v", p.Name, i, got, slope)
		}
	}
}

func drawBlend(t *rapid.T, shape []int) trainer.Blend {
	share := rapid.Float64Range(0, 1)
	switch rapid.SampledFrom([]trainer.Mode{
		"", trainer.Convex, trainer.Residual, trainer.Channel, trainer.Confidence,
	}).Draw(t, "mode") {
	case trainer.Residual:
		return trainer.Blend{Mode: trainer.Residual}
	case trainer.Channel:
		channels := make([]float32, shape[0])
		for i := range channels {
			channels[i] = float32(share.Draw(t, "channel"))
		}
		return trainer.Blend{Mode: trainer.Channel, Channels: channels}
	case trainer.Confidence:
		low, top := share.Draw(t, "low"), share.Draw(t, "top")
		return trainer.Blend{
			Mode: trainer.Confidence, AlphaLow: min(low, top), AlphaTop: max(low, top),
			GateK: rapid.Float64Range(0, 20).Draw(t, "k"), GateTau: rapid.Float64Range(0, 2).Draw(t, "tau"),
		}
	case trainer.Convex:
		return trainer.Blend{Mode: trainer.Convex}
	default:
		return trainer.Blend{}
	}
}

// A blend in any mode, at any share, on a slot of any form: the gradient at the
// host in front of it is exactly zero, that at the seed is right, and the output
// lies where the mode promises.
func TestBlendsKeepTheirPromises(t *testing.T) {
	t.Parallel()
	for _, form := range forms() {
		t.Run(fmt.Sprint(form), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, form...)
			rapid.Check(t, func(t *rapid.T) { checkBlend(t, w, form) })
		})
	}
}

func checkBlend(t *rapid.T, w *world, form []int) {
	seed := rapid.Uint64().Draw(t, "seed")
	n := newNetwork(w, rand.New(rand.NewPCG(seed, 3)), rapid.Bool().Draw(t, "flat"))
	blend := drawBlend(t, form)
	order := w.attachOrder("s", mixing(w, seed%5, form...), blend)
	order.Schedule = trainer.Schedule{Shape: trainer.ShapeLinear, Steps: rapid.IntRange(0, 20).Draw(t, "steps"), Temperature: 1}
	order.Schedule.WarmUp = rapid.IntRange(0, 1).Draw(t, "warm-up")
	w.send(order)
	defer func() { w.send(w.order(trainer.Drop, "s")) }()
	w.grow("s", stageBlending)
	for range rapid.IntRange(0, 20).Draw(t, "done") {
		w.graft.Step()
	}
	tape := kernel.NewTape()
	loss, host, out := n.loss(tape, w.slot.Output)
	parameters := w.slot.Parameters("s")
	for _, parameter := range parameters {
		parameter.ZeroGrad()
	}
	n.weight.ZeroGrad()
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
	share := w.seed("s").Share
	if share == 0 {
		if !sameBits(out.Tensor().Data, host.Tensor().Data) {
			t.Fatal("at a share of 0 the output is not the host")
		}
		return
	}
	if slices.ContainsFunc(n.weight.Grad.Data, notZero) || slices.ContainsFunc(host.Grad().Data, notZero) {
		t.Fatalf("a gradient reached the host: %v", n.weight.Grad.Data)
	}
	way := pass(w.slot.Output)
	if blend.Mode == trainer.Confidence {
		way = n.gated("s", blend, share, unchanged)
		checkSame(t, n, way, out)
	}
	for _, parameter := range parameters {
		n.checkSlopes(t, parameter, way)
	}
	if blend.Mode != trainer.Residual {
		checkBetween(t, n, host, out)
	}
}

func checkBetween(t *rapid.T, n *network, host, out kernel.Value) {
	tape := kernel.NewTape()
	_, _, full := n.loss(tape, n.own("s"))
	for i, got := range out.Tensor().Data {
		a, b := host.Tensor().Data[i], full.Tensor().Data[i]
		if !(got >= min(a, b) && got <= max(a, b)) {
			t.Fatalf("element %d: %v does not lie between the host's %v and the seed's %v", i, got, a, b)
		}
	}
}

func notZero(g float32) bool { return g != 0 || math.IsNaN(float64(g)) }

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// A seed that is kept is a layer: the gradient flows through it to the host, and
// both are right. A blend behind it still gives exactly none.
func TestGradientFlowsThroughKeptSeedsOnly(t *testing.T) {
	t.Parallel()
	for _, form := range forms() {
		for _, flat := range []bool{false, true} {
			t.Run(fmt.Sprint(form, flat), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil, form...)
				n := newNetwork(w, rand.New(rand.NewPCG(9, 9)), flat)
				blends := []trainer.Blend{{Mode: trainer.Convex}, {Mode: trainer.Residual},
					{Mode: trainer.Channel, Channels: slices.Repeat([]float32{0.3}, form[0])},
					{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9}}
				for i, blend := range blends {
					id := string(rune('a' + i))
					w.plant(id, mixing(t, uint64(i), form...), blend, stageFossilized)
					w.send(w.order(trainer.Tune, id))
				}
				tape := kernel.NewTape()
				loss, _, out := n.loss(tape, w.slot.Output)
				if err := tape.Backward(loss); err != nil {
					t.Fatal(err)
				}
				way := n.gated("d", blends[3], 1, func(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
					return w.slot.Without(t, "d", host)
				})
				checkSame(t, n, way, out)
				n.checkSlopes(t, n.weight, way)
				for i := range blends {
					for _, parameter := range w.slot.Parameters(string(rune('a' + i))) {
						n.checkSlopes(t, parameter, way)
					}
				}
				w.plant("young", mixing(t, 9, form...), trainer.Blend{}, stageBlending)
				n.weight.ZeroGrad()
				w.slot.Parameters("a")[0].ZeroGrad()
				tape.Reset()
				loss, _, _ = n.loss(tape, w.slot.Output)
				if err := tape.Backward(loss); err != nil {
					t.Fatal(err)
				}
				if slices.ContainsFunc(n.weight.Grad.Data, notZero) ||
					slices.ContainsFunc(w.slot.Parameters("a")[0].Grad.Data, notZero) {
					t.Error("a gradient passed a blend")
				}
			})
		}
	}
}

// What a seed makes of its share of nothing never reaches the model: neither a
// NaN, nor the loss of a negative zero.
func TestNothingOfTheSeedLeaksAtAShareOfZero(t *testing.T) {
	t.Parallel()
	host := row(float32(math.Copysign(0, -1)), 1, float32(math.Inf(1)), float32(math.NaN()))
	for _, blend := range []trainer.Blend{
		{}, {Mode: trainer.Residual}, {Mode: trainer.Channel, Channels: []float32{1, 1, 1, 1}},
		{Mode: trainer.Confidence, GateK: 4, AlphaLow: 0.5, AlphaTop: 1},
	} {
		w := newWorld(t, nil)
		order := w.attachOrder("s", scaling(t, 2, features), blend)
		order.Schedule = trainer.Schedule{Shape: trainer.ShapeSigmoid, Steps: 5, Temperature: 1, WarmUp: 3}
		w.send(order)
		w.grow("s", stageBlending)
		if got := w.output(host); !sameBits(got, host.Data) {
			t.Errorf("%s: %v", blend.Mode, got)
		}
	}
}

// In the stages of rest nothing of a seed moves: no gradient reaches it, and its
// running statistics stay although the tape is in training mode.
func TestRestingSeedDoesNotMove(t *testing.T) {
	t.Parallel()
	b := kernel.NewBuilder("normalising", features)
	ones := kernel.FromSlice([]float32{1, 1, 1, 1}, features)
	b.Init("scale", ones)
	b.Init("bias", kernel.NewTensor(features))
	b.Frozen("mean", kernel.NewTensor(features))
	b.Frozen("variance", ones)
	b.Node("BatchNormalization", []string{"host", "scale", "bias", "mean", "variance"}, "seed")
	content := fileOf(t, b)
	w := newWorld(t, nil)
	w.plant("s", content, trainer.Blend{}, stageBlending)
	parameters := w.slot.Parameters("s")
	batch := normal(rand.New(rand.NewPCG(1, 1)), 8, features)
	for _, stage := range []leyline.SeedLifecycleStage{stageShadowing, stageProbationary, stageFossilized} {
		w.grow("s", stage)
		before := w.output(batch)
		tape := kernel.NewTape()
		tape.Train(rand.New(rand.NewPCG(2, 2)))
		out, err := w.slot.Output(tape, tape.Input(batch))
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
		w.graft.Step()
		if !sameBits(before, w.output(batch)) || slices.ContainsFunc(parameters[0].Grad.Data, notZero) {
			t.Errorf("the seed moved in %s", stage)
		}
	}
}
