package tolaria_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tolaria"
)

const (
	training   = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	blending   = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	fossilized = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
)

// slot is a graft with one seed whose stages follow a script: it germinates
// after hostEpochs, trains, blends, and becomes part of the network.
type slot struct {
	hostEpochs, trainEpochs uint32
	seed                    *kernel.Instance
	stage                   leyline.SeedLifecycleStage
	alpha                   float32
	leak                    bool // blend without detaching the host
	evidence                []map[string]float32
}

func newSlot(t *testing.T, features int, hostEpochs, trainEpochs uint32) *slot {
	t.Helper()
	return &slot{hostEpochs: hostEpochs, trainEpochs: trainEpochs, seed: feedForward(t, features)}
}

// feedForward is x + W2·relu(W1·x), with a small W2.
func feedForward(t *testing.T, features int) *kernel.Instance {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	weights := func(in, out int, spread float64) *kernel.Tensor {
		tensor := kernel.NewTensor(in, out)
		for i := range tensor.Data {
			tensor.Data[i] = float32(rng.NormFloat64() * spread)
		}
		return tensor
	}
	hidden := 4 * features
	b := kernel.NewBuilder("feed_forward", features)
	b.Init("w1", weights(features, hidden, math.Sqrt(2/float64(features))))
	b.Init("b1", kernel.NewTensor(hidden))
	b.Init("w2", weights(hidden, features, 0.01))
	b.Node("MatMul", []string{"host", "w1"}, "h1")
	b.Node("Add", []string{"h1", "b1"}, "h2")
	b.Node("Relu", []string{"h2"}, "h3")
	b.Node("MatMul", []string{"h3", "w2"}, "h4")
	b.Node("Add", []string{"host", "h4"}, "seed")
	bytes, err := b.Bytes()
	if err != nil {
		t.Fatalf("build kernel: %v", err)
	}
	loaded, err := kernel.Load(bytes)
	if err != nil {
		t.Fatalf("load kernel: %v", err)
	}
	return loaded.Instantiate()
}

func (s *slot) Seeds() []*leyline.SeedState {
	if s.stage == leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN {
		return nil
	}
	return []*leyline.SeedState{{SeedId: "seed-1", Stage: s.stage, Metrics: map[string]float32{"alpha": s.alpha}}}
}

func (s *slot) Parameters(string) []*kernel.Parameter { return s.seed.Parameters() }

func (s *slot) Isolated(t *kernel.Tape, _ string, host kernel.Value) (kernel.Value, error) {
	return s.seed.Forward(t, t.Detach(host))
}

func (s *slot) Output(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
	if s.stage != blending && s.stage != fossilized {
		return host, nil
	}
	grown, err := s.Isolated(t, "seed-1", host)
	if err != nil {
		return kernel.Value{}, err
	}
	if grown, err = t.Scale(grown, s.alpha); err != nil {
		return kernel.Value{}, err
	}
	if !s.leak {
		host = t.Detach(host)
	}
	rest, err := t.Scale(host, 1-s.alpha)
	if err != nil {
		return kernel.Value{}, err
	}
	return t.Add(grown, rest)
}

func (s *slot) AdvanceAlpha(string) float64 {
	s.alpha = min(1, s.alpha+0.05)
	return float64(s.alpha)
}

func (s *slot) Observe(_ context.Context, epoch uint32, _ string, evidence map[string]float32) error {
	s.evidence = append(s.evidence, evidence)
	if s.stage == training && epoch >= s.hostEpochs+s.trainEpochs {
		s.stage = blending
	} else if s.stage == blending && s.alpha == 1 {
		s.stage = fossilized
	}
	return nil
}

// germinate is what the controller does when validation stalls.
func (s *slot) germinate(_ context.Context, packet *leyline.SystemStatePacket) error {
	if s.stage == leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN && packet.GetCurrentEpoch() >= s.hostEpochs {
		s.stage = training
	}
	return nil
}

func train(t *testing.T, graft *slot, config tolaria.Config) *tolaria.Result {
	t.Helper()
	config.Graft, config.Settle = graft, graft.germinate
	trainer, err := tolaria.NewTrainer(config)
	if err != nil {
		t.Fatalf("NewTrainer: %v", err)
	}
	result, err := trainer.Run(context.Background())
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return result
}

func TestSeedMakesARealNetworkBetterAndTheHostKeepsEveryBit(t *testing.T) {
	t.Parallel()
	result := train(t, newSlot(t, 32, 80, 20), tolaria.Config{Seed: 1})
	if gain := result.GrownAccuracy - result.HostAccuracy; gain < 0.05 {
		t.Errorf("grew from %.4f to %.4f, a gain of %.4f", result.HostAccuracy, result.GrownAccuracy, gain)
	}
	if result.HostGradientMax != 0 {
		t.Errorf("a gradient of %g reached the host", result.HostGradientMax)
	}
	if !result.HostUnchanged {
		t.Error("the host changed while the seed trained and blended")
	}
	last := result.Epochs[len(result.Epochs)-1]
	if len(last.Seeds) != 1 || last.Seeds[0].GetStage() != fossilized {
		t.Errorf("the run ended with seeds %v", last.Seeds)
	}
}

func TestLeakThroughABlendIsSeen(t *testing.T) {
	t.Parallel()
	graft := newSlot(t, 32, 5, 1)
	graft.leak = true
	result := train(t, graft, tolaria.Config{Seed: 1, MaxEpochs: 12})
	if result.HostGradientMax == 0 {
		t.Error("a blend without detaching the host showed no gradient: the measurement is blind")
	}
}

func TestSameSeedGivesTheSameRun(t *testing.T) {
	t.Parallel()
	first := train(t, newSlot(t, 32, 8, 3), tolaria.Config{Seed: 3, MaxEpochs: 20})
	again := train(t, newSlot(t, 32, 8, 3), tolaria.Config{Seed: 3, MaxEpochs: 20})
	other := train(t, newSlot(t, 32, 8, 3), tolaria.Config{Seed: 4, MaxEpochs: 20})
	if len(first.Epochs) != len(again.Epochs) || first.GrownAccuracy != again.GrownAccuracy {
		t.Errorf("runs differ: %d epochs to %v, %d epochs to %v",
			len(first.Epochs), first.GrownAccuracy, len(again.Epochs), again.GrownAccuracy)
	}
	for i := range first.Epochs {
		if first.Epochs[i].Loss != again.Epochs[i].Loss {
			t.Fatalf("epoch %d: loss %v, then %v", i+1, first.Epochs[i].Loss, again.Epochs[i].Loss)
		}
	}
	if first.Epochs[0].Loss == other.Epochs[0].Loss {
		t.Error("another seed gave the same run")
	}
}

func TestEvidenceComparesTheHostAloneWithTheSeedFullyIn(t *testing.T) {
	t.Parallel()
	graft := newSlot(t, 32, 40, 20)
	train(t, graft, tolaria.Config{Seed: 1})
	if len(graft.evidence) == 0 {
		t.Fatal("no evidence was reported")
	}
	first, last := graft.evidence[0], graft.evidence[len(graft.evidence)-1]
	if last["loss_after"] >= last["loss_before"] || last["accuracy_after"] <= last["accuracy_before"] {
		t.Errorf("a seed that helps shows in its evidence: %v", last)
	}
	if first["loss_before"] != last["loss_before"] {
		t.Errorf("the host alone went from %v to %v although it was frozen", first["loss_before"], last["loss_before"])
	}
	if first["gradient_norm"] <= 0 || first["train_loss"] <= 0 || first["host_gradient_max"] != 0 {
		t.Errorf("evidence of the first epoch: %v", first)
	}
}

// recorder keeps what would go out on the bus.
type recorder struct {
	packets []*leyline.SystemStatePacket
	err     error
}

func (r *recorder) PublishState(_ context.Context, packet *leyline.SystemStatePacket) error {
	r.packets = append(r.packets, packet)
	return r.err
}

func TestEveryEpochIsReported(t *testing.T) {
	t.Parallel()
	bus := &recorder{}
	result := train(t, newSlot(t, 32, 3, 2), tolaria.Config{Bus: bus, RunID: "run-7", MaxEpochs: 6})
	if len(bus.packets) != 6 || len(result.Epochs) != 6 {
		t.Fatalf("%d packets for %d epochs", len(bus.packets), len(result.Epochs))
	}
	ids := make(map[string]bool)
	for i, packet := range bus.packets {
		ids[packet.GetPacketId()] = true
		if packet.GetCurrentEpoch() != uint32(i+1) || packet.GetTrainingRunId() != "run-7" ||
			packet.GetSourceSubsystem() != "tolaria" || packet.GetVersion() != 1 {
			t.Errorf("packet %d: %v", i, packet)
		}
	}
	if len(ids) != 6 {
		t.Errorf("%d different packet ids", len(ids))
	}
	last := bus.packets[5].GetSeedStates()
	if len(last) != 1 || last[0].GetMetrics()["loss_after"] == 0 || last[0].GetGradientNorm() == 0 {
		t.Errorf("the last packet's seeds: %v", last)
	}
}

func TestTrainingGoesOnWithoutABus(t *testing.T) {
	t.Parallel()
	bus := &recorder{err: errors.New("bus is down")}
	result := train(t, newSlot(t, 32, 100, 1), tolaria.Config{Bus: bus, MaxEpochs: 4})
	if len(result.Epochs) != 4 {
		t.Errorf("trained %d of 4 epochs", len(result.Epochs))
	}
}

func TestCancelledRunEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	graft := newSlot(t, 32, 100, 1)
	trainer, err := tolaria.NewTrainer(tolaria.Config{Graft: graft, OnEpoch: func(tolaria.Epoch) { cancel() }})
	if err != nil {
		t.Fatalf("NewTrainer: %v", err)
	}
	if _, err := trainer.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
}

func TestTrainerWithoutGraftIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := tolaria.NewTrainer(tolaria.Config{}); !errors.Is(err, tolaria.ErrNoGraft) {
		t.Errorf("NewTrainer = %v, want ErrNoGraft", err)
	}
}

func TestDigitsAreComplete(t *testing.T) {
	t.Parallel()
	digits, err := tolaria.Digits()
	if err != nil {
		t.Fatalf("Digits: %v", err)
	}
	if digits.Len() != 1797 || digits.Inputs.Rows() != 1797 || digits.Inputs.Cols() != 64 {
		t.Fatalf("%d digits, shape %v", digits.Len(), digits.Inputs.Shape)
	}
	counts := make([]int, 10)
	for _, label := range digits.Labels {
		counts[label]++
	}
	if slices.Min(counts) < 170 {
		t.Errorf("classes: %v", counts)
	}
	if slices.Min(digits.Inputs.Data) != -1 || slices.Max(digits.Inputs.Data) != 1 {
		t.Errorf("pixels reach from %v to %v", slices.Min(digits.Inputs.Data), slices.Max(digits.Inputs.Data))
	}
	split := digits.Split(rand.New(rand.NewPCG(1, 1)))
	if sum := split.Train.Len() + split.Validation.Len() + split.Test.Len(); sum != 1797 {
		t.Errorf("the split holds %d digits", sum)
	}
}
