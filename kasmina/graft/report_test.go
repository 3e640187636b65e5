package graft_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestReportTellsTheWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *graft.Config) {
		c.Accepts, c.Resumes, c.HostLayers = []string{"optimizer"}, "trainer-0", []string{"in", "trunk", "out"}
	})
	first := w.report(nil)
	packet := first.packet
	if packet.GetTrainingRunId() != "run-1" || packet.GetExperimentName() != "test" || packet.GetVersion() != 1 ||
		packet.GetPacketId() != w.graft.TrainerID()+"-1" || packet.GetTimestampNs() == 0 || packet.GetSourceSubsystem() != "tolaria" {
		t.Errorf("packet %v", packet)
	}
	report := first.report
	if report.TrainerID != w.graft.TrainerID() || report.Resumes != "trainer-0" || report.Number != 1 ||
		!slices.Equal(report.Slots["trunk"], []int{features}) || !slices.Equal(report.KernelAccess, []string{"path"}) ||
		!slices.Equal(report.Accepts, []string{"optimizer"}) || len(report.HostLayers) != 3 {
		t.Errorf("report %+v", report)
	}
	w.plant("s", mixing(t, 1, features), trainer.Blend{}, stageTraining)
	loss, err := graft.Compare([]float64{1, 2, 3}, []float64{1, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	cosine := 0.5
	state := w.report(map[string]graft.Evidence{"s": {
		Loss: loss, Accuracy: graft.Comparison{Before: 0.5, After: 0.75, Examples: 3}, TrainLoss: new(2.0), Cosine: &cosine,
		LearningRate: 0.01, Metrics: map[string]float64{"own": 7},
	}}).seed("s")
	want := map[string]float32{
		trainer.MetricLossBefore: 2, trainer.MetricLossAfter: 1, trainer.MetricLossError: 0.57735026,
		trainer.MetricAccuracyBefore: 0.5, trainer.MetricAccuracyAfter: 0.75, trainer.MetricHeldOut: 3,
		trainer.MetricTrainLoss: 2, trainer.MetricGradientCosine: 0.5, "own": 7, trainer.MetricPaused: 0,
	}
	for name, value := range want {
		if got, ok := state.GetMetrics()[name]; !ok || math.Abs(float64(got-value)) > 1e-6 {
			t.Errorf("%s is %v, want %v", name, got, value)
		}
	}
	if state.GetAgeEpochs() != 1 || state.GetLearningRate() != 0.01 || state.GetLayerDepth() != 2 {
		t.Errorf("state %v", state)
	}
}

func TestCompareIsThePairedDifference(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	before, after := make([]float64, 1000), make([]float64, 1000)
	for i := range before {
		before[i] = 10 * rng.NormFloat64() // what both have in common must not count
		after[i] = before[i] - 0.1 + 0.5*rng.NormFloat64()
	}
	c, err := graft.Compare(before, after)
	if err != nil || math.Abs(c.After-c.Before+0.1) > 0.05 || math.Abs(c.Error-0.5/math.Sqrt(1000)) > 0.001 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := graft.Compare(before, after[1:]); err == nil {
		t.Error("lists of different examples were compared")
	}
	if c, _ := graft.Compare([]float64{1}, []float64{3}); c.Before != 1 || c.After != 3 || c.Error != 0 {
		t.Errorf("one example: %+v", c)
	}
	if c, _ := graft.Compare([]float64{1, 2}, []float64{math.NaN(), 1}); !math.IsNaN(c.After) || !math.IsNaN(c.Error) {
		t.Errorf("a loss that is no number: %+v", c)
	}
}

func TestTrainingGoesOnWhileTheBusIsDownAndTheNewestReportWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.bus.set(errRefused, nil)
	for epoch := range uint32(3) {
		w.graft.Report(&leyline.SystemStatePacket{CurrentEpoch: epoch + 1}, nil)
		w.eventually(func() bool { return w.graft.Stats().Unpublished > uint64(epoch) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := w.graft.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Flush = %v", err)
	}
	w.bus.set(nil, nil)
	if err := w.graft.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if report := <-w.bus.reports; report.packet.GetCurrentEpoch() != 3 || report.report.Number != 3 || len(w.bus.reports) != 0 {
		t.Errorf("report %v", report)
	}
	if stats := w.graft.Stats(); stats.Published != 1 || stats.Replaced != 2 {
		t.Errorf("stats %+v", stats)
	}
}

func TestNoCallOfTheLoopWaitsForAStuckBus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	stuck := make(chan struct{})
	w.bus.set(nil, stuck)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			w.graft.Apply()
			w.graft.Step()
			w.graft.Report(&leyline.SystemStatePacket{}, nil)
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("the loop waits for the bus")
	}
	close(stuck)
	if err := w.graft.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestGradientsAndTimesAreMeasuredForTheReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	tape := kernel.NewTape()
	out, err := w.slot.Isolated(tape, "s", tape.Input(row(1, 2, 3, 4)))
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
	metrics := w.report(nil).seed("s").GetMetrics()
	if metrics[trainer.MetricGradientNorm] != 10 || metrics[trainer.MetricHostGradientMax] != 0 ||
		metrics[trainer.MetricForwardMS] <= 0 || metrics[trainer.MetricForwardFaults] != 0 {
		t.Errorf("metrics %v", metrics)
	}
	if norm, told := w.report(nil).seed("s").GetMetrics()[trainer.MetricGradientNorm]; told {
		t.Errorf("a report without a step tells of a norm of %v", norm)
	}
}

// A seed that makes no number is left out, the loss is the host's, and the fault
// is told.
func TestSeedWithoutANumberIsLeftOutAndToldOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageBlending)
	w.slot.Parameters("s")[0].Value.Data[0] = float32(math.NaN())
	near(t, "output", w.output(row(1, 2, 3, 4)), []float32{1, 2, 3, 4})
	tape := kernel.NewTape()
	host := tape.Input(row(1, 2, 3, 4))
	out, err := w.slot.Isolated(tape, "s", host)
	if err != nil || out.Grad() != nil {
		t.Errorf("%v, %v", out.Tensor(), err)
	}
	near(t, "isolated", out.Tensor().Data, []float32{1, 2, 3, 4})
	w.output(row(float32(math.NaN()), 0, 0, 0)) // no fault of the seed's
	if metrics := w.report(nil).seed("s").GetMetrics(); metrics[trainer.MetricForwardFaults] != 2 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestBatchOfAnotherShapeTrainsOnWithoutTheSeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, 2, 3, 2)
	w.plant("s", scaling(t, 2, 2, 3, 2), trainer.Blend{}, stageShadowing)
	near(t, "output", w.output(row(1, 2, 3)), []float32{1, 2, 3})
	if metrics := w.report(nil).seed("s").GetMetrics(); metrics[trainer.MetricForwardFaults] != 1 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestForeignValueIsAnError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if _, err := w.slot.Output(kernel.NewTape(), kernel.Value{}); !errors.Is(err, graft.ErrForeignValue) {
		t.Errorf("got %v", err)
	}
}

func TestSeedThatIsGoneLeavesTheDetachedHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	tape := kernel.NewTape()
	for name, through := range map[string]func(*kernel.Tape, string, kernel.Value) (kernel.Value, error){
		"isolated": w.slot.Isolated, "with": w.slot.With, "without": w.slot.Without,
	} {
		out, err := through(tape, "gone", tape.Input(row(1, 2, 3, 4)))
		if err != nil || name == "isolated" && out.Grad() != nil {
			t.Fatalf("%s: %v", name, err)
		}
		near(t, name, out.Tensor().Data, []float32{1, 2, 3, 4})
	}
}

// The evidence of a seed is of the whole chain with it and without it; what it
// learns on ends with it.
func TestWithWithoutAndIsolated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("first", scaling(t, 2, features), trainer.Blend{}, stageFossilized)
	w.plant("middle", scaling(t, 3, features), trainer.Blend{}, stageTraining)
	w.plant("last", scaling(t, 5, features), trainer.Blend{Mode: trainer.Residual}, stageShadowing)
	tape := kernel.NewTape()
	for _, tt := range []struct {
		name    string
		seed    string
		through func(*kernel.Tape, string, kernel.Value) (kernel.Value, error)
		want    float32
	}{
		{"with the middle", "middle", w.slot.With, 36}, {"without it", "middle", w.slot.Without, 12},
		{"isolated", "middle", w.slot.Isolated, 6}, {"without the last", "last", w.slot.Without, 2},
		{"a residual one isolated is on top of the host", "last", w.slot.Isolated, 12},
	} {
		out, err := tt.through(tape, tt.seed, tape.Constant(row(1, 0, 0, 0)))
		if err != nil {
			t.Fatal(err)
		}
		near(t, tt.name, out.Tensor().Data, []float32{tt.want, 0, 0, 0})
	}
}

func TestKeptIsTheNetworkWithoutTrials(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("kept", scaling(t, 2, features), trainer.Blend{}, stageFossilized)
	w.plant("blending", scaling(t, 3, features), trainer.Blend{}, stageBlending)
	w.plant("on trial", scaling(t, 5, features), trainer.Blend{}, stageShadowing)
	tape := kernel.NewTape()
	out, err := w.slot.Kept(tape, tape.Constant(row(1, 0, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	near(t, "kept", out.Tensor().Data, []float32{2, 0, 0, 0})
}

func TestWhatWasNotMeasuredIsNotTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("s", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	one, err := graft.Compare([]float64{2}, []float64{1})
	if err != nil {
		t.Fatal(err)
	}
	metrics := w.report(map[string]graft.Evidence{"s": {Loss: one, Accuracy: one}}).seed("s").GetMetrics()
	for _, name := range []string{
		trainer.MetricLossError, trainer.MetricAccuracyError, trainer.MetricTrainLoss, trainer.MetricGradientCosine,
		trainer.MetricGradientNorm, trainer.MetricForwardMS, trainer.MetricForwardSpread,
	} {
		if value, told := metrics[name]; told {
			t.Errorf("%s is told as %v", name, value)
		}
	}
	if metrics[trainer.MetricLossAfter] != 1 || metrics[trainer.MetricHeldOut] != 1 {
		t.Errorf("metrics %v", metrics)
	}
}

func TestFailureIsToldUntilReportsThatTellOfItWerePublished(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	order := w.attachOrder("s", scaling(t, 2, features), trainer.Blend{})
	order.Kernel.Ref += ".gone"
	w.bus.set(errors.New("outage"), nil)
	w.send(order)
	for range 20 {
		w.graft.Report(&leyline.SystemStatePacket{}, nil)
	}
	w.bus.set(nil, nil)
	if err := w.graft.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-w.bus.reports
	for left := 7; left >= 0; left-- {
		report := w.report(nil)
		if err := w.graft.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told := report.seed("s") != nil; told != (left > 0) {
			t.Errorf("with %d reports left it is told: %v", left, told)
		}
	}
}

func squaring(t testing.TB) []byte {
	t.Helper()
	b := kernel.NewBuilder("squaring", features)
	b.Node("Mul", []string{"host", "host"}, "seed")
	return fileOf(t, b)
}

func TestCosineOfTheLossesOnTheActivations(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.plant("with", scaling(t, 2, features), trainer.Blend{}, stageTraining)
	w.plant("against", scaling(t, -1, features), trainer.Blend{}, stageTraining)
	loss := func(t *kernel.Tape, out kernel.Value) (kernel.Value, error) { return t.ReduceSum(out, false) }
	tape := kernel.NewTape()
	w.slot.Parameters("with")[0].Grad.Data[0] = 7
	for seed, want := range map[string]float64{"with": 1, "against": -1} {
		got, err := w.slot.Cosine(tape, seed, row(1, 2, 3, 4), loss)
		if err != nil || math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %v, %v", seed, got, err)
		}
	}
	if w.slot.Parameters("with")[0].Grad.Data[0] != 7 {
		t.Error("the seed's gradient was disturbed")
	}
	w.plant("square", squaring(t), trainer.Blend{Mode: trainer.Residual}, stageShadowing)
	// The slopes are (3, 5, 7, 9) with the square alone, (10, 18, 26, 34) with the factor
	// of 2 in front of it, and 1 without either.
	for seed, want := range map[string]float64{"with": 608 / math.Sqrt(164*2256), "square": 24 / math.Sqrt(4*164)} {
		got, err := w.slot.Cosine(tape, seed, row(1, 2, 3, 4), loss)
		if err != nil || math.Abs(got-want) > 1e-6 {
			t.Errorf("%s beside a seed on trial: %v, %v, want %v", seed, got, err, want)
		}
	}
	w.slot.Parameters("with")[0].Value.Data[0] = float32(math.NaN())
	if got, err := w.slot.Cosine(tape, "with", row(1, 2, 3, 4), loss); err == nil {
		t.Errorf("a seed that fails has a cosine of %v", got)
	}
	if _, err := w.slot.Cosine(tape, "gone", row(1, 2, 3, 4), loss); err == nil {
		t.Error("a seed that is gone has a cosine")
	}
}
