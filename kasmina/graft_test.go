package kasmina

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// scaleKernel is seed = factor·host with a trainable factor.
func scaleKernel(t testing.TB, features int, factor float32) *kernel.Instance {
	t.Helper()
	b := kernel.NewBuilder("scale", features)
	b.Init("factor", kernel.FromSlice([]float32{factor}, 1))
	b.Node("Mul", []string{"host", "factor"}, "seed")
	content, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := kernel.Load(content)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Instantiate()
}

func graftWith(t testing.TB, stage leyline.SeedLifecycleStage, factors ...float32) *Graft {
	t.Helper()
	graft := NewGraft([]string{"layer"}, 2)
	for i, factor := range factors {
		id := string(rune('a' + i))
		if err := graft.Attach(id, scaleKernel(t, 2, factor), BlendConfig{}); err != nil {
			t.Fatal(err)
		}
		graft.SetStage(id, stage)
	}
	return graft
}

func outputOf(t testing.TB, graft *Graft, host ...float32) []float32 {
	t.Helper()
	tape := kernel.NewTape()
	out, err := graft.Output(tape, tape.Constant(kernel.FromSlice(host, 1, len(host))))
	if err != nil {
		t.Fatal(err)
	}
	return out.Tensor().Data
}

func TestSeedsAreAppliedInTheOrderOfAttachment(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageFossilized, 2, 3)
	near(t, "both", outputOf(t, graft, 1, -1), []float32{6, -6})
	graft.Detach("a")
	near(t, "the second", outputOf(t, graft, 1, -1), []float32{3, -3})
	graft.Detach("b")
	near(t, "none", outputOf(t, graft, 1, -1), []float32{1, -1})
}

func TestOnlyBlendingStagesReachTheModel(t *testing.T) {
	t.Parallel()
	for number := range leyline.SeedLifecycleStage_name {
		stage := leyline.SeedLifecycleStage(number)
		graft := graftWith(t, stage, 2)
		want := float32(1)
		switch stage {
		case stageBlending:
			want = 1 + float32(DefaultAlphaSchedule().At(1))
		case stageShadowing, stageProbationary, stageFossilized:
			want = 2
		}
		near(t, stage.String(), outputOf(t, graft, 1, 0), []float32{want, 0})
	}
}

// The gradient that reaches the host through a blend is exactly zero, in each
// mode and stage, for one seed and for a chain of them.
func TestHostGradientThroughABlendIsExactlyZero(t *testing.T) {
	t.Parallel()
	configs := map[BlendMode]BlendConfig{
		BlendConvex:   {Mode: BlendConvex},
		BlendResidual: {Mode: BlendResidual},
		BlendChannel:  {Mode: BlendChannel, Channels: []float32{0.3, 0.9}},
		BlendConfidence: {
			Mode: BlendConfidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9,
		},
	}
	for mode, config := range configs {
		for _, stage := range []leyline.SeedLifecycleStage{stageBlending, stageShadowing, stageFossilized} {
			graft := NewGraft([]string{"layer"}, 2)
			for _, id := range []string{"a", "b"} {
				if err := graft.Attach(id, scaleKernel(t, 2, 1.5), config); err != nil {
					t.Fatal(err)
				}
				graft.SetStage(id, stage)
			}
			weight := kernel.NewParameter("weight", kernel.FromSlice([]float32{0.3, -0.7, 0.2, 0.9}, 2, 2))
			seed := blendStep(t, graft, weight)
			for _, g := range weight.Grad.Data {
				if g != 0 {
					t.Errorf("%s in %s: gradient %v reached the host", mode, stage, weight.Grad.Data)
				}
			}
			if seed == 0 {
				t.Errorf("%s in %s: no gradient reached the seed", mode, stage)
			}
		}
	}
}

// blendStep runs one step and returns the gradient of the last seed.
func blendStep(t *testing.T, graft *Graft, weight *kernel.Parameter) float32 {
	t.Helper()
	tape := kernel.NewTape()
	x := tape.Constant(kernel.FromSlice([]float32{1, 2, -1, 0.5}, 2, 2))
	host, err := tape.MatMul(x, tape.Parameter(weight))
	if err != nil {
		t.Fatal(err)
	}
	out, err := graft.Output(tape, host)
	if err != nil {
		t.Fatal(err)
	}
	loss, err := tape.SoftmaxCrossEntropy(out, []int{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
	return graft.instance("b").Parameters()[0].Grad.Data[0]
}

func TestHostTrainsWhileNoSeedBlends(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	tape := kernel.NewTape()
	host := tape.Input(kernel.FromSlice([]float32{1, 2}, 1, 2))
	out, err := graft.Output(tape, host)
	if err != nil {
		t.Fatal(err)
	}
	backwardSum(t, tape, out)
	near(t, "host gradient", host.Grad().Data, []float32{1, 1})
}

func TestIsolatedTrainingReachesTheSeedOnly(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	tape := kernel.NewTape()
	host := tape.Input(kernel.FromSlice([]float32{1, 2}, 1, 2))
	out, err := graft.Isolated(tape, "a", host)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "output", out.Tensor().Data, []float32{2, 4})
	backwardSum(t, tape, out)
	near(t, "host gradient", host.Grad().Data, []float32{0, 0})
	near(t, "seed gradient", graft.Parameters("a")[0].Grad.Data, []float32{3})
}

func TestSecondSeedLearnsOnTheOutputOfTheFirst(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageFossilized, 2, 3)
	graft.SetStage("b", stageTraining)
	tape := kernel.NewTape()
	out, err := graft.Isolated(tape, "b", tape.Constant(kernel.FromSlice([]float32{1, 1}, 1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "output", out.Tensor().Data, []float32{6, 6})
}

func TestIsolatedOutputOfADepartedSeedIsTheHosts(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining)
	tape := kernel.NewTape()
	host := tape.Input(kernel.FromSlice([]float32{1, 2}, 1, 2))
	out, err := graft.Isolated(tape, "gone", host)
	if err != nil || out.Grad() != nil {
		t.Fatalf("%v, %v", out, err)
	}
	near(t, "output", out.Tensor().Data, []float32{1, 2})
}

func TestFrozenAndPausedSeedsHaveNothingToTrain(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	if len(graft.Parameters("a")) != 1 {
		t.Error("a seed in training has no parameters")
	}
	graft.SetPaused("a", true)
	if graft.Parameters("a") != nil {
		t.Error("a paused seed can be trained")
	}
	graft.SetPaused("a", false)
	graft.SetStage("a", stageShadowing)
	if graft.Parameters("a") != nil {
		t.Error("a frozen seed can be trained")
	}
}

func TestAlphaAdvancesOnlyWhileBlending(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	if share := graft.AdvanceAlpha("a"); share != 0 || graft.AlphaSteps("a") != 0 {
		t.Errorf("share %v while training", share)
	}
	graft.SetStage("a", stageBlending)
	if share := graft.AdvanceAlpha("a"); math.Abs(share-DefaultAlphaSchedule().At(2)) > 1e-9 {
		t.Errorf("second step has share %v", share)
	}
	graft.SetPaused("a", true)
	graft.AdvanceAlpha("a")
	if steps := graft.AlphaSteps("a"); steps != 2 {
		t.Errorf("a paused ramp moved to %d", steps)
	}
	graft.SetPaused("a", false)
	graft.SetStage("a", stageShadowing)
	if share := graft.AdvanceAlpha("a"); share != 1 || graft.AlphaSteps("a") != 2 {
		t.Errorf("share %v in shadow", share)
	}
	if share := graft.AdvanceAlpha("unknown"); share != 0 {
		t.Errorf("an unknown seed has share %v", share)
	}
}

func TestAttachRefusesWhatCannotRun(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	if err := graft.Attach("a", scaleKernel(t, 2, 1), BlendConfig{}); !errors.Is(err, ErrAttached) {
		t.Errorf("attached twice: %v", err)
	}
	if err := graft.Attach("b", scaleKernel(t, 3, 1), BlendConfig{}); err == nil {
		t.Error("a kernel of another width was attached")
	}
	short := BlendConfig{Mode: BlendChannel, Channels: []float32{1}}
	if err := graft.Attach("b", scaleKernel(t, 2, 1), short); !errors.Is(err, ErrBlendShape) {
		t.Errorf("a vector of another length was attached: %v", err)
	}
	if len(graft.Seeds()) != 1 {
		t.Error("a refused seed is attached")
	}
}

func TestForeignHostValueIsAnError(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	if _, err := graft.Output(kernel.NewTape(), kernel.Value{}); !errors.Is(err, ErrForeignValue) {
		t.Errorf("got %v", err)
	}
}

// listener keeps the last evidence.
type listener struct{ evidence map[string]float32 }

func (l *listener) Observe(_ context.Context, _ uint32, _ string, evidence map[string]float32) error {
	l.evidence = evidence
	return nil
}

func TestFailingSeedIsLeftOutAndReported(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 1)
	graft.mu.Lock()
	graft.seeds[0].blend = BlendConfig{Mode: BlendChannel, Channels: []float32{1}} // fits no longer
	graft.mu.Unlock()
	graft.SetStage("a", stageShadowing)
	near(t, "output", outputOf(t, graft, 5, 7), []float32{5, 7})
	told := new(listener)
	graft.Bind(told)
	given := goodEvidence()
	if err := graft.Observe(t.Context(), 1, "a", given); err != nil {
		t.Fatal(err)
	}
	if told.evidence["forward_faults"] != 1 || graft.Fault("a") == "" || len(given) != len(goodEvidence()) {
		t.Errorf("evidence %v, fault %q", told.evidence, graft.Fault("a"))
	}
}

func TestSeedStatesCarryTheEvidence(t *testing.T) {
	t.Parallel()
	graft := graftWith(t, stageTraining, 2)
	if err := graft.Observe(t.Context(), 7, "a", goodEvidence()); err != nil {
		t.Fatal(err)
	}
	state := graft.Seeds()[0]
	if state.GetMetrics()["loss_after"] != 0.5 || state.GetAgeEpochs() != 1 || state.GetGradientNorm() != 0.1 ||
		state.GetMetrics()["alpha_total_steps"] != 20 || state.GetMetrics()["alpha_temperature"] != 2 {
		t.Errorf("state %v", state)
	}
}
