package tolaria

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// Epoch is what was measured in one pass over the training data.
type Epoch struct {
	// Number counts from 1.
	Number int
	// TrainLoss is the mean loss of the steps taken; of the last trained part,
	// host or seed. It is 0 when nothing was trained.
	TrainLoss float64
	// Loss and Accuracy are those of the whole model on the validation set.
	Loss, Accuracy float64
	// HostAccuracy is that of the host alone on the validation set.
	HostAccuracy float64
	// Seeds are the attached seeds with their stage and alpha at the end of the
	// epoch.
	Seeds []*leyline.SeedState
	// Took is the time of the epoch without waiting for the controller.
	Took time.Duration
}

// measurement is a pass over one dataset without training.
type measurement struct {
	loss, accuracy float64
}

// output turns the host's detached slot output into what its later layers see.
type output func(t *kernel.Tape, trunk kernel.Value) (kernel.Value, error)

func (t *Trainer) hostOutput(_ *kernel.Tape, trunk kernel.Value) (kernel.Value, error) {
	return trunk, nil
}

func (t *Trainer) blendedOutput(tape *kernel.Tape, trunk kernel.Value) (kernel.Value, error) {
	return t.config.Graft.Output(tape, trunk)
}

func (t *Trainer) isolatedOutput(seedID string) output {
	return func(tape *kernel.Tape, trunk kernel.Value) (kernel.Value, error) {
		return t.config.Graft.Isolated(tape, seedID, trunk)
	}
}

// epoch trains one pass, measures, lets the manager decide on its seeds, and
// reports on the bus.
func (t *Trainer) epoch(ctx context.Context, number int) error {
	started := time.Now()
	seeds := t.config.Graft.Seeds()
	trainLoss, err := t.train(seeds)
	if err != nil {
		return err
	}
	if err := t.observe(ctx, number, seeds, trainLoss); err != nil {
		return err
	}
	epoch, err := t.measure(number, trainLoss)
	if err != nil {
		return err
	}
	epoch.Took = time.Since(started)
	t.result.Epochs = append(t.result.Epochs, epoch)
	if t.config.OnEpoch != nil {
		t.config.OnEpoch(epoch)
	}
	t.countSettled(epoch.Seeds)
	return t.report(ctx, epoch)
}

// train makes one pass over the training data: over the host when no seed needs
// it to hold still, else over the seeds that learn.
func (t *Trainer) train(seeds []*leyline.SeedState) (float64, error) {
	if len(seeds) == 0 {
		t.frozenBits = nil
		return t.trainHost()
	}
	if t.frozenBits == nil {
		t.frozenBits = t.host.snapshot()
	}
	var loss float64
	for _, seed := range seeds {
		if !learns(seed.GetStage()) {
			continue
		}
		var err error
		if loss, err = t.trainSeed(seed); err != nil {
			return 0, fmt.Errorf("seed %s: %w", seed.GetSeedId(), err)
		}
	}
	if !t.host.unchangedSince(t.frozenBits) {
		t.result.HostUnchanged = false
	}
	return loss, nil
}

// learns says whether a seed's weights move in a stage. Later stages are
// measured with the weights that they arrived with.
func learns(stage leyline.SeedLifecycleStage) bool {
	return stage == leyline.SeedLifecycleStage_SEED_STAGE_TRAINING ||
		stage == leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
}

func (t *Trainer) trainHost() (float64, error) {
	return t.pass(func(batch *Dataset) (float64, error) {
		loss, err := t.step(batch, false, t.hostOutput)
		if err != nil {
			return 0, err
		}
		t.hostOptimizer.Step()
		return loss, nil
	})
}

// trainSeed makes one pass for one seed. In TRAINING its output stands in for
// the host's; in BLENDING it learns in the mixture that the model really sees.
func (t *Trainer) trainSeed(seed *leyline.SeedState) (float64, error) {
	optimizer := t.seedOptimizer(seed.GetSeedId())
	through := t.isolatedOutput(seed.GetSeedId())
	if seed.GetStage() == leyline.SeedLifecycleStage_SEED_STAGE_BLENDING {
		through = t.blendedOutput
	}
	t.host.zeroGradients()
	return t.pass(func(batch *Dataset) (float64, error) {
		loss, err := t.step(batch, true, through)
		if err != nil {
			return 0, err
		}
		t.result.HostGradientMax = max(t.result.HostGradientMax, float64(t.host.gradientMax()))
		seed.GradientNorm = float32(gradientNorm(optimizer.parameters))
		optimizer.Step()
		if seed.GetStage() == leyline.SeedLifecycleStage_SEED_STAGE_BLENDING {
			t.config.Graft.AdvanceAlpha(seed.GetSeedId())
		}
		return loss, nil
	})
}

func (t *Trainer) seedOptimizer(seedID string) *adam {
	parameters := t.config.Graft.Parameters(seedID)
	optimizer, ok := t.seedOptimizers[seedID]
	// A seed id may germinate again with a new kernel: old moments belong to
	// the old weights.
	if !ok || !slices.Equal(optimizer.parameters, parameters) {
		optimizer = newAdam(parameters, t.config.SeedRate)
		t.seedOptimizers[seedID] = optimizer
	}
	return optimizer
}

// pass visits every batch once and returns the mean loss.
func (t *Trainer) pass(visit func(*Dataset) (float64, error)) (float64, error) {
	var sum float64
	var steps int
	err := t.data.Train.batches(t.rng, t.config.BatchSize, func(batch *Dataset) error {
		loss, err := visit(batch)
		sum += loss
		steps++
		t.globalStep++
		return err
	})
	return sum / float64(max(steps, 1)), err
}

// step runs forward and backward over one batch and returns its loss. The
// host's trunk always records where its gradients would go, so that a gradient
// that leaked through a blend would be seen; its later layers are constants
// while a seed learns.
func (t *Trainer) step(batch *Dataset, seedLearns bool, through output) (float64, error) {
	t.tape.Reset()
	t.tape.Train(t.noise)
	trunk, err := t.host.Trunk(t.tape, t.tape.Constant(batch.Inputs), false)
	if err != nil {
		return 0, err
	}
	features, err := through(t.tape, trunk)
	if err != nil {
		return 0, err
	}
	logits, err := t.host.Logits(t.tape, features, seedLearns)
	if err != nil {
		return 0, err
	}
	loss, err := t.tape.SoftmaxCrossEntropy(logits, batch.Labels)
	if err != nil {
		return 0, err
	}
	if err := t.tape.Backward(loss); err != nil {
		return 0, err
	}
	return float64(loss.Tensor().Data[0]), nil
}

// evaluate measures a dataset without touching a weight.
func (t *Trainer) evaluate(data *Dataset, through output) (measurement, error) {
	t.tape.Reset()
	t.tape.Train(nil)
	trunk, err := t.host.Trunk(t.tape, t.tape.Constant(data.Inputs), true)
	if err != nil {
		return measurement{}, err
	}
	features, err := through(t.tape, trunk)
	if err != nil {
		return measurement{}, err
	}
	logits, err := t.host.Logits(t.tape, features, true)
	if err != nil {
		return measurement{}, err
	}
	loss, err := t.tape.SoftmaxCrossEntropy(logits, data.Labels)
	if err != nil {
		return measurement{}, err
	}
	return measurement{
		loss:     float64(loss.Tensor().Data[0]),
		accuracy: accuracy(logits.Tensor(), data.Labels),
	}, nil
}

func accuracy(logits *kernel.Tensor, labels []int) float64 {
	classes, right := logits.Cols(), 0
	for i, label := range labels {
		row := logits.Data[i*classes : (i+1)*classes]
		if slices.Index(row, slices.Max(row)) == label {
			right++
		}
	}
	return float64(right) / float64(max(len(labels), 1))
}

// measure takes the epoch's validation figures after the manager has decided.
func (t *Trainer) measure(number int, trainLoss float64) (Epoch, error) {
	whole, err := t.evaluate(t.data.Validation, t.blendedOutput)
	if err != nil {
		return Epoch{}, fmt.Errorf("measure model: %w", err)
	}
	alone, err := t.evaluate(t.data.Validation, t.hostOutput)
	if err != nil {
		return Epoch{}, fmt.Errorf("measure host: %w", err)
	}
	return Epoch{
		Number: number, TrainLoss: trainLoss, Loss: whole.loss, Accuracy: whole.accuracy,
		HostAccuracy: alone.accuracy, Seeds: t.config.Graft.Seeds(),
	}, nil
}

// countSettled counts the epochs in which every seed has become part of the
// network.
func (t *Trainer) countSettled(seeds []*leyline.SeedState) {
	fossilized := func(seed *leyline.SeedState) bool {
		return seed.GetStage() == leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
	}
	if len(seeds) == 0 || slices.ContainsFunc(seeds, func(s *leyline.SeedState) bool { return !fossilized(s) }) {
		t.settled = 0
		return
	}
	t.settled++
}
