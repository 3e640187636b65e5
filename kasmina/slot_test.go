package kasmina

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// scaleKernelFor is seed = factor·host for a slot of any form.
func scaleKernelFor(t testing.TB, factor float32, slot ...int) []byte {
	t.Helper()
	b := kernel.NewBuilderFor("scale", slot...)
	b.Init("factor", kernel.FromSlice([]float32{factor}, 1))
	b.Node("Mul", []string{"host", "factor"}, "seed")
	content, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func graftOn(t testing.TB, blend BlendConfig, slot ...int) *Graft {
	t.Helper()
	loaded, err := kernel.Load(scaleKernelFor(t, 3, slot...))
	if err != nil {
		t.Fatal(err)
	}
	graft := NewGraft([]string{"layer"}, slot...)
	if err := graft.Attach("a", loaded.Instantiate(), blend); err != nil {
		t.Fatal(err)
	}
	return graft
}

// A layer gives its examples in the shape of its slot or as flat rows; both mean
// the same, and what comes back has the shape that was given.
func TestSlotsOfEveryFormAreGrafted(t *testing.T) {
	t.Parallel()
	for _, form := range [][]int{{6}, {2, 3}, {2, 3, 2}} {
		given := [][]int{slot(form).batched(2), {2, slot(form).size()}}
		for _, shape := range given {
			t.Run(fmt.Sprint(form, " given as ", shape), func(t *testing.T) {
				t.Parallel()
				graft := graftOn(t, BlendConfig{}, form...)
				checkRun(t, graft, 3, graft.isolatedA, shape)
				graft.SetStage("a", stageShadowing)
				checkRun(t, graft, 3, graft.Output, shape)
				graft.SetStage("a", stageBlending)
				share := float32(DefaultAlphaSchedule().At(1))
				checkRun(t, graft, 1+2*share, graft.Output, shape)
			})
		}
	}
}

func (g *Graft) isolatedA(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
	return g.Isolated(t, "a", host)
}

// checkRun runs a forward and a backward pass on a batch of that shape: the output
// is factor times the batch, the seed gets a gradient and the host exactly none.
func checkRun(
	t *testing.T, graft *Graft, factor float32,
	run func(*kernel.Tape, kernel.Value) (kernel.Value, error), shape []int,
) {
	t.Helper()
	batch := kernel.NewTensor(shape...)
	want := make([]float32, len(batch.Data))
	for i := range batch.Data {
		batch.Data[i] = float32(i%5) - 1
		want[i] = factor * batch.Data[i]
	}
	tape := kernel.NewTape()
	host := tape.Input(batch)
	out, err := run(tape, host)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Shape(), shape) {
		t.Fatalf("the output is %v, given was %v", out.Shape(), shape)
	}
	near(t, "output", out.Tensor().Data, want)
	parameter := graft.instance("a").Parameters()[0]
	parameter.ZeroGrad()
	backwardSum(t, tape, out)
	if parameter.Grad.Data[0] == 0 {
		t.Error("no gradient reached the seed")
	}
	if slices.ContainsFunc(host.Grad().Data, func(g float32) bool { return g != 0 }) {
		t.Errorf("gradient %v reached the host", host.Grad().Data)
	}
}

// The channels of a map are weighted as such, whether the layer gives maps or rows.
func TestChannelsOfAMapAreWeighted(t *testing.T) {
	t.Parallel()
	graft := graftOn(t, BlendConfig{Mode: BlendChannel, Channels: []float32{0, 1}}, 2, 1, 2)
	graft.SetStage("a", stageShadowing)
	near(t, "output", outputOf(t, graft, 1, 2, 3, 4), []float32{1, 2, 9, 12})
}

func TestLayerThatDoesNotFitItsSlotTrainsOnUnharmed(t *testing.T) {
	t.Parallel()
	graft := graftOn(t, BlendConfig{}, 2, 3, 2)
	graft.SetStage("a", stageShadowing)
	near(t, "output", outputOf(t, graft, 1, 2, 3), []float32{1, 2, 3})
	if fault := graft.Fault("a"); !strings.Contains(fault, "[1 3]") {
		t.Errorf("fault %q does not name the shape that was given", fault)
	}
	tape := kernel.NewTape()
	if _, err := graft.Isolated(tape, "a", tape.Constant(kernel.NewTensor(1, 3))); err == nil {
		t.Error("a seed ran on another shape than its slot's")
	}
}

// A kernel for maps grows on a host of maps and is refused, with both shapes, by
// a host of features, although the elements would be as many.
func TestKernelOfAnotherFormIsRefusedByTheHost(t *testing.T) {
	maps := []int{2, 3, 2}
	inWorld(t, nil, func(w *world) {
		w.files["BP001"] = scaleKernelFor(t, 3, maps...)
		w.hostOf(slot(maps).size())
		w.plant("s")
		w.wantStage("s", stageEmbargoed)
		told := fmt.Sprint(w.emitted())
		if !strings.Contains(told, "[-1 2 3 2]") || !strings.Contains(told, "[12]") {
			t.Errorf("the refusal does not name both shapes: %s", told)
		}
		w.hostOf(maps...)
		w.plant("next")
		w.wantStage("next", stageTraining)
		w.wantAttached("next")
	})
}

// hostOf registers a host of that slot.
func (w *world) hostOf(slot ...int) {
	w.t.Helper()
	w.graft = NewGraft([]string{"weight", "bias"}, slot...)
	if err := w.manager.RegisterHost(w.ctx, w.graft); err != nil {
		w.t.Fatal(err)
	}
}
