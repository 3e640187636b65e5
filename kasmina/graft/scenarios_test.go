package graft_test

import (
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// The scenarios are those of the prototype's own tests that concern blending and
// isolation, by their numbers there.

// atShare attaches a seed and brings it to a share of so many tenths.
func (w *world) atShare(seed string, content []byte, blend trainer.Blend, tenths int) {
	w.Helper()
	w.plant(seed, content, blend, stageBlending)
	for range tenths - 1 {
		w.graft.Step()
	}
}

// gradients runs a batch through the slot, sums what comes out, and returns it
// with the gradients at the host and at the seed's first parameter.
func (w *world) gradients(batch *kernel.Tensor) (out, host, seed []float32) {
	w.Helper()
	tape := kernel.NewTape()
	x := tape.Input(batch)
	y, err := w.slot.Output(tape, x)
	if err != nil {
		w.Fatal(err)
	}
	sum, err := tape.ReduceSum(y, false)
	if err != nil {
		w.Fatal(err)
	}
	parameters := w.slot.Parameters("s")
	for _, parameter := range parameters {
		parameter.ZeroGrad()
	}
	if err := tape.Backward(sum); err != nil {
		w.Fatal(err)
	}
	if len(parameters) > 0 {
		seed = slices.Clone(parameters[0].Grad.Data)
	}
	return slices.Clone(y.Tensor().Data), slices.Clone(x.Grad().Data), seed
}

// constant is a kernel whose output is its parameter, one value for each feature,
// whatever the host is: the gradient at the parameter is that at its output.
func constant(t testing.TB, values ...float32) []byte {
	t.Helper()
	b := kernel.NewBuilder("constant", len(values))
	b.Init("values", kernel.FromSlice(values, 1, len(values)))
	b.Frozen("none", kernel.FromSlice([]float32{0}))
	b.Node("Mul", []string{"host", "none"}, "nothing")
	b.Node("Add", []string{"nothing", "values"}, "seed")
	return fileOf(t, b)
}

func TestScenario29_SeedThatSharesAHostParameterIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	own := w.slot.Parameters("s")[0]
	aliased := &kernel.Parameter{Name: "tied", Value: kernel.FromSlice(own.Value.Data, 1)}
	for _, host := range []*kernel.Parameter{own, aliased} {
		w.slot.Watch(host)
		if metrics := w.report(nil).seed("s").GetMetrics(); metrics[trainer.MetricSharedParameter] != 1 {
			t.Errorf("metrics %v", metrics)
		}
	}
}

func TestScenario30_SeedWithItsOwnParametersSharesNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.slot.Watch(kernel.NewParameter("weight", kernel.NewTensor(features)))
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	if metrics := w.report(nil).seed("s").GetMetrics(); metrics[trainer.MetricSharedParameter] != 0 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestScenario35_BlendedOutputIsTheBlendAndKeptOutputTheSeeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.atShare("s", scaling(t, 3, features), trainer.Blend{}, 5)
	out, host, seed := w.gradients(row(1, 2, 3, 4))
	near(t, "output", out, []float32{2, 4, 6, 8})
	near(t, "seed gradient", seed, []float32{5})
	if slices.ContainsFunc(host, notZero) {
		t.Errorf("gradient %v reached the host", host)
	}
	w.grow("s", stageFossilized)
	out, host, _ = w.gradients(row(1, 2, 3, 4))
	near(t, "output of the kept seed", out, []float32{3, 6, 9, 12})
	near(t, "host gradient through it", host, []float32{3, 3, 3, 3})
}

func TestScenario36_NothingOfABlendIsMeasuredAtTheHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.atShare("s", scaling(t, 3, features), trainer.Blend{}, 5)
	w.gradients(row(1, 2, 3, 4))
	w.graft.Step()
	metrics := w.report(nil).seed("s").GetMetrics()
	if metrics[trainer.MetricHostGradientMax] != 0 || metrics[trainer.MetricSharedParameter] != 0 ||
		metrics[trainer.MetricGradientNorm] != 5 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestScenario37_TwoSeedsOfOneKernelHaveParametersOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("first", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	w.plant("second", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	w.slot.Watch(w.slot.Parameters("first")...)
	if metrics := w.report(nil).seed("second").GetMetrics(); metrics[trainer.MetricSharedParameter] != 0 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestScenario45_SeedsAreAppliedInTheOrderOfAttachment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("first", scaling(t, 2, features), trainer.Blend{}, stageShadowing)
	w.plant("second", scaling(t, 3, features), trainer.Blend{}, stageShadowing)
	near(t, "both", w.output(row(1, -1, 0, 2)), []float32{6, -6, 0, 12})
	w.send(w.order(trainer.Drop, "first"))
	near(t, "the second", w.output(row(1, -1, 0, 2)), []float32{3, -3, 0, 6})
}

// optimizer keeps a state for each parameter it knows, as a trainer's does.
type optimizer map[*kernel.Parameter]bool

func (o optimizer) follow(changes []graft.Change) {
	for _, change := range changes {
		for _, parameter := range change.Parameters {
			switch {
			case change.From == 0:
				o[parameter] = true
			case change.To == 0:
				delete(o, parameter)
			}
		}
	}
}

func TestScenario46_OptimizerTakesUpASeedsParametersAndDropsThem(t *testing.T) {
	t.Parallel()
	w, adam := newWorld(t, nil), optimizer{}
	adam.follow(w.send(w.attachOrder("s", mixing(t, 1, features), trainer.Blend{})))
	if len(adam) != 2 || !adam[w.slot.Parameters("s")[0]] {
		t.Errorf("%d parameters", len(adam))
	}
	adam.follow(w.send(w.order(trainer.BlendIn, "s")))
	adam.follow(w.send(w.order(trainer.Drop, "s")))
	if len(adam) != 0 {
		t.Errorf("%d parameters are left", len(adam))
	}
}

func TestScenario48_RampGrowsStepByStepAndStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	for _, temperature := range []float64{2, 1} {
		w := newWorld(t, nil)
		order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
		order.Schedule = trainer.Schedule{Shape: trainer.ShapeSigmoid, Steps: 10, Temperature: temperature}
		w.send(order)
		w.grow("s", stageBlending)
		last := 0.0
		for range 15 {
			share := w.seed("s").Share
			if share <= last || share > 1 {
				t.Fatalf("share %v behind %v", share, last)
			}
			last = share
			w.graft.Step()
		}
	}
}

func TestScenario49_ConvexBlendGivesTheSeedItsShareOfTheGradient(t *testing.T) {
	t.Parallel()
	for tenths, want := range map[int]float32{3: 0.3, 5: 0.5} {
		w := newWorld(t, nil, 2)
		w.atShare("s", constant(t, 3, -1), trainer.Blend{Mode: trainer.Convex}, tenths)
		out, host, seed := w.gradients(row(1, 1))
		near(t, "output", out, []float32{1 + 2*want, 1 - 2*want})
		near(t, "seed gradient", seed, []float32{want, want})
		if slices.ContainsFunc(host, notZero) {
			t.Errorf("gradient %v reached the host", host)
		}
	}
}

func TestScenario50_ResidualBlendAddsTheSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, 1)
	w.atShare("s", constant(t, 2), trainer.Blend{Mode: trainer.Residual}, 3)
	out, host, seed := w.gradients(row(1))
	near(t, "output", out, []float32{1.6})
	near(t, "seed gradient", seed, []float32{0.3})
	near(t, "host gradient", host, []float32{0})
	w.graft.Step()
	near(t, "at a share of 0.4", w.output(row(1)), []float32{1.8})
}

func TestScenario51_ChannelsHaveSharesOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, 3)
	w.atShare("s", constant(t, 1, 1, 1), trainer.Blend{Mode: trainer.Channel, Channels: []float32{0.2, 0.6, 1}}, 5)
	out, host, seed := w.gradients(row(0, 0, 0))
	near(t, "output", out, []float32{0.1, 0.3, 0.5})
	near(t, "seed gradient", seed, []float32{0.1, 0.3, 0.5})
	near(t, "host gradient", host, []float32{0, 0, 0})
}

// confident is the prototype's golden configuration of a confidence blend.
func confident() trainer.Blend {
	return trainer.Blend{
		Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9, Logits: []float64{0.1, 0.5, -0.2},
	}
}

func TestScenario52_ConfidenceIsClampedAndItsGateHasNoGradient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		seed []float32
		want float32 // share: 0.5 times the gate, at least 0.1
	}{{[]float32{2, 1, -1}, 0.4804}, {[]float32{0.1, 0.05, 0}, 0.1772}, {[]float32{0, 0, 0}, 0.155}} {
		w := newWorld(t, nil, 3)
		w.atShare("s", constant(t, tt.seed...), confident(), 5)
		out, host, seed := w.gradients(row(0, 0, 0))
		near(t, "output", out, []float32{tt.want * tt.seed[0], tt.want * tt.seed[1], tt.want * tt.seed[2]})
		near(t, "seed gradient", seed, []float32{tt.want, tt.want, tt.want})
		near(t, "host gradient", host, []float32{0, 0, 0})
	}
	w := newWorld(t, nil, 3)
	w.plant("s", constant(t, 9, 0, 0), confident(), stageShadowing)
	near(t, "at the upper bound", w.output(row(0, 0, 0)), []float32{8.1, 0, 0})
}

func TestScenario55_ConfidenceWithLogitsKeepsTheShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, 3)
	w.atShare("s", constant(t, 1, 2, 3), confident(), 5)
	tape := kernel.NewTape()
	out, err := w.slot.Output(tape, tape.Constant(kernel.NewTensor(2, 3)))
	if err != nil || !slices.Equal(out.Shape(), []int{2, 3}) {
		t.Errorf("%v, %v", out.Shape(), err)
	}
	if metrics := w.report(nil).seed("s").GetMetrics(); metrics[trainer.MetricForwardFaults] != 0 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestScenario58_GradientsAreCollectedWhileBlendingAndNotInShadow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.atShare("s", scaling(t, 3, features), trainer.Blend{}, 5)
	norm := func() float32 {
		w.gradients(row(1, 2, 3, 4))
		w.graft.Step()
		return w.report(nil).seed("s").GetGradientNorm()
	}
	if got := norm(); got == 0 {
		t.Error("no gradient while blending")
	}
	w.grow("s", stageShadowing)
	if got := norm(); got != 0 {
		t.Errorf("gradient %v in shadow", got)
	}
}

func TestScenario60_ShadowHasNoGradientAndTrainingHasOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 3, features), trainer.Blend{}, stageTraining)
	probe := func() kernel.Value {
		tape := kernel.NewTape()
		out, err := w.slot.Isolated(tape, "s", tape.Input(row(1, 2, 3, 4)))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if probe().Grad() == nil {
		t.Error("a seed in training has no gradient")
	}
	w.grow("s", stageShadowing)
	if out := probe(); out.Grad() != nil {
		t.Error("a seed in shadow has a gradient")
	}
}
