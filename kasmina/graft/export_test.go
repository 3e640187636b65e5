package graft_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// linear is a layer of a host, x·w, in both forms: as a graph and on a tape.
type linearLayer struct {
	name   string
	weight *kernel.Tensor
}

func (l linearLayer) Layer(b *kernel.Builder, input string) string {
	b.Init(l.name+".w", l.weight)
	b.Node("MatMul", []string{input, l.name + ".w"}, l.name)
	return l.name
}

func (l linearLayer) forward(t *testing.T, tape *kernel.Tape, x kernel.Value) kernel.Value {
	t.Helper()
	out, err := tape.MatMul(x, tape.Constant(l.weight))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// exportForms are slots with all modes kept, in every form that a host may give.
func exportForms() map[string]struct {
	shape []int
	flat  bool
} {
	return map[string]struct {
		shape []int
		flat  bool
	}{
		"features": {[]int{4}, false}, "flat features": {[]int{4}, true},
		"sequence": {[]int{3, 4}, true}, "image": {[]int{2, 3, 4}, true},
	}
}

func TestWholeGrownNetworkIsOneFile(t *testing.T) {
	t.Parallel()
	for name, form := range exportForms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil, form.shape...)
			w.plant("convex", mixing(t, 1, form.shape...), trainer.Blend{}, stageFossilized)
			w.plant("residual", mixing(t, 2, form.shape...), trainer.Blend{Mode: trainer.Residual}, stageFossilized)
			channels := make([]float32, form.shape[0])
			for i := range channels {
				channels[i] = float32(i) / float32(len(channels)-1+1)
			}
			w.plant("channel", mixing(t, 3, form.shape...), trainer.Blend{Mode: trainer.Channel, Channels: channels}, stageFossilized)
			w.plant("confidence", mixing(t, 4, form.shape...),
				trainer.Blend{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9}, stageFossilized)
			w.plant("young", scaling(t, 9, form.shape...), trainer.Blend{}, stageTraining) // no part of the network
			compareExport(t, w, form.flat)
		})
	}
}

func compareExport(t *testing.T, w *world, flat bool) {
	t.Helper()
	size := 1
	for _, d := range w.slot.Shape() {
		size *= d
	}
	rng := rand.New(rand.NewPCG(5, 5))
	first, last := linearLayer{"first", normal(rng, 6, size)}, linearLayer{"last", normal(rng, size, 3)}
	layer := w.slot.Layer
	if flat {
		layer = w.slot.FlatLayer
	}
	file, err := graft.Export("network", []int{6}, []int{3}, first.Layer, layer, last.Layer)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	batch, tape := normal(rng, 5, 6), kernel.NewTape()
	grown, err := w.slot.Output(tape, first.forward(t, tape, tape.Constant(batch)))
	if err != nil {
		t.Fatal(err)
	}
	want := last.forward(t, tape, grown).Tensor().Data
	out, err := loaded.Instantiate().Forward(tape, tape.Constant(batch))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Shape(), []int{5, 3}) {
		t.Fatalf("the output is %v", out.Shape())
	}
	for i, got := range out.Tensor().Data {
		if math.Abs(float64(got-want[i])) > 1e-4*max(1, math.Abs(float64(want[i]))) {
			t.Errorf("element %d is %v, in training it was %v", i, got, want[i])
		}
	}
}

func TestTiedScoresCloseTheExportedGateToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	blend := trainer.Blend{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaTop: 1}
	w.plant("s", scaling(t, 2, features), blend, stageFossilized)
	file, err := graft.Export("network", []int{features}, []int{features}, w.slot.Layer)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := kernel.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []*kernel.Tensor{row(1, 1, 0, 0), row(0, 0, 0, 0), row(-5, -5, -5, -6), row(3, 1, 0, -1)} {
		tape := kernel.NewTape()
		out, err := loaded.Instantiate().Forward(tape, tape.Constant(x))
		if err != nil {
			t.Fatal(err)
		}
		near(t, "exported", out.Tensor().Data, w.output(x))
	}
}

func TestExportWithoutLayersIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := graft.Export("network", []int{2}, []int{2}); err == nil {
		t.Error("a network without layers was written")
	}
	if _, err := graft.Export("network", []int{2}, []int{3}, func(_ *kernel.Builder, input string) string { return input }); err == nil {
		t.Error("a network of other shapes than its own was written")
	}
}
