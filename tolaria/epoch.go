package tolaria

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// Epoch is what was measured in the passes between two reports.
type Epoch struct {
	// Number counts from 1.
	Number int
	// TrainLoss is the mean loss of the host's steps, or of the seeds' while the
	// host rests. It is 0 when nothing was trained.
	TrainLoss float64
	// Loss and Accuracy are those of the whole network on the validation set.
	Loss, Accuracy float64
	// HostAccuracy is that of the network without the seed on trial. It is Accuracy
	// while there is none.
	HostAccuracy float64
	hostLoss     float64 // beside HostAccuracy
	// Rate is the host's learning rate.
	Rate float64
	// Seeds are the grafted seeds as they were in this epoch.
	Seeds []graft.Seed
	// Took is the time of the epoch, without waiting for the service.
	Took time.Duration
}

// epoch trains, measures and reports.
func (t *Trainer) epoch(ctx context.Context) error {
	started := time.Now()
	t.epochs++
	losses, err := t.train()
	if err != nil {
		return err
	}
	epoch, evidence, err := t.measure(losses)
	if err != nil {
		return err
	}
	if losses.host != nil && !t.isolated() {
		t.rate.see(epoch.hostLoss)
	}
	epoch.Took = time.Since(started)
	t.report(t.packet(epoch), evidence)
	t.result.Epochs = append(t.result.Epochs, epoch)
	if t.config.OnEpoch != nil {
		t.config.OnEpoch(epoch)
	}
	switch {
	case t.config.Settle != nil:
		if err := t.config.Settle(ctx, t.reports, t.graft); err != nil {
			return fmt.Errorf("settle: %w", err)
		}
	case losses.none():
		t.keepPace(ctx, epoch.Took)
	default:
		t.pace = epoch.Took
	}
	return nil
}

// keepPace has an epoch without training take as long as one with it, so that the
// service has the same time for its answer.
func (t *Trainer) keepPace(ctx context.Context, took time.Duration) {
	cadence.Sleep(ctx, t.pace-took)
}

func (t *Trainer) report(packet *leyline.SystemStatePacket, evidence map[string]graft.Evidence) {
	t.reports++
	t.graft.Report(packet, evidence)
}

// answers are the losses of examples, and 1 for each that was answered right.
type answers struct{ losses, right []float64 }

// measure looks at the validation set: the whole network, and each seed on trial
// beside the network without it.
func (t *Trainer) measure(trained losses) (Epoch, map[string]graft.Evidence, error) {
	validation := t.config.Data.Validation
	whole, err := t.answer(validation, t.slot.Output)
	if err != nil {
		return Epoch{}, nil, fmt.Errorf("measure the network: %w", err)
	}
	epoch := Epoch{
		Number: t.epochs, Rate: t.rate.Rate, Seeds: t.slot.Seeds(),
		Loss: mean(whole.losses), Accuracy: mean(whole.right), HostAccuracy: mean(whole.right),
	}
	epoch.hostLoss = epoch.Loss
	if trained.host != nil {
		epoch.TrainLoss = *trained.host
	}
	evidence := make(map[string]graft.Evidence)
	for i, seed := range t.trials() {
		measured, err := t.judge(validation, seed.ID)
		if err != nil {
			return Epoch{}, nil, fmt.Errorf("measure seed %s: %w", seed.ID, err)
		}
		measured.Cosine = t.cosine(validation.span(0, min(pulled, validation.Len())), seed.ID)
		measured.LearningRate = t.config.SeedRate
		if loss, ok := trained.seeds[seed.ID]; ok {
			measured.TrainLoss = &loss
		}
		evidence[seed.ID] = measured
		if i == 0 {
			epoch.HostAccuracy, epoch.hostLoss = measured.Accuracy.Before, measured.Loss.Before
		}
		if trained.host == nil && measured.TrainLoss != nil {
			epoch.TrainLoss = *measured.TrainLoss
		}
	}
	return epoch, evidence, nil
}

// judge compares the network without a seed and with it fully in, example by
// example.
func (t *Trainer) judge(data *Dataset, seedID string) (graft.Evidence, error) {
	without, err := t.answer(data, func(tape *kernel.Tape, hidden kernel.Value) (kernel.Value, error) {
		return t.slot.Without(tape, seedID, hidden)
	})
	if err != nil {
		return graft.Evidence{}, err
	}
	with, err := t.answer(data, func(tape *kernel.Tape, hidden kernel.Value) (kernel.Value, error) {
		return t.slot.With(tape, seedID, hidden)
	})
	if err != nil {
		return graft.Evidence{}, err
	}
	var evidence graft.Evidence
	if evidence.Loss, err = graft.Compare(without.losses, with.losses); err != nil {
		return graft.Evidence{}, err
	}
	evidence.Accuracy, err = graft.Compare(without.right, with.right)
	return evidence, err
}

// cosine is between the gradients of the loss without a seed and with it, on the
// activations of the hidden layer. A seed that gives no number has none.
func (t *Trainer) cosine(data *Dataset, seedID string) *float64 {
	cosine, err := t.gradientCosine(data, seedID)
	if err != nil {
		t.config.Logger.Warn("the gradients of a seed cannot be compared", "seed", seedID, "error", err)
		return nil
	}
	if math.IsNaN(cosine) {
		return nil
	}
	return &cosine
}

func (t *Trainer) gradientCosine(data *Dataset, seedID string) (float64, error) {
	t.tape.Reset()
	t.tape.Train(nil)
	hidden, err := t.network.Hidden(t.tape, t.tape.Constant(data.Inputs), true)
	if err != nil {
		return 0, err
	}
	return t.slot.Cosine(t.tape, seedID, hidden.Tensor().Clone(), func(tape *kernel.Tape, out kernel.Value) (kernel.Value, error) {
		logits, err := t.network.Logits(tape, out, true)
		if err != nil {
			return kernel.Value{}, err
		}
		return tape.SoftmaxCrossEntropy(logits, data.Labels)
	})
}

// measured is how many examples are looked at in one pass, and pulled how many for
// the cosine of gradients.
const (
	measured = 512
	pulled   = 128
)

// answer measures a dataset without touching a weight.
func (t *Trainer) answer(data *Dataset, way through) (answers, error) {
	var all answers
	for start := 0; start < data.Len(); start += measured {
		batch := data.span(start, min(start+measured, data.Len()))
		t.tape.Reset()
		t.tape.Train(nil)
		hidden, err := t.network.Hidden(t.tape, t.tape.Constant(batch.Inputs), true)
		if err != nil {
			return answers{}, err
		}
		seen, err := way(t.tape, hidden)
		if err != nil {
			return answers{}, fmt.Errorf("at the slot: %w", err)
		}
		logits, err := t.network.Logits(t.tape, seen, true)
		if err != nil {
			return answers{}, err
		}
		all.add(logits.Tensor(), batch.Labels)
	}
	return all, nil
}

// add takes the class scores of more examples.
func (a *answers) add(logits *kernel.Tensor, labels []int) {
	classes := logits.Cols()
	for i, label := range labels {
		row := logits.Data[i*classes : (i+1)*classes]
		largest := slices.Max(row)
		sum := 0.0
		for _, score := range row {
			sum += math.Exp(float64(score) - float64(largest))
		}
		a.losses = append(a.losses, math.Log(sum)+float64(largest)-float64(row[label]))
		right := 0.0
		if slices.Index(row, largest) == label {
			right = 1
		}
		a.right = append(a.right, right)
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, value := range values {
		sum += value
	}
	return sum / float64(max(len(values), 1))
}

// What the training metrics of a report say of this trainer.
const (
	metricEpochMS      = "epoch_ms"
	metricLearningRate = "learning_rate"
	metricHostAccuracy = "host_accuracy"
	metricFrontRests   = "front_rests_while_blending"
	metricBehindTrains = "behind_trains_while_blending"
)

// packet is the state packet of an epoch, as far as the trainer knows it.
func (t *Trainer) packet(epoch Epoch) *leyline.SystemStatePacket {
	rests, behind := float32(1), float32(0)
	if t.waited >= trialPatience {
		rests = 0
	}
	if t.config.TrainBehind {
		behind = 1
	}
	return &leyline.SystemStatePacket{
		CurrentEpoch:       uint32(epoch.Number),
		ValidationAccuracy: float32(epoch.Accuracy),
		ValidationLoss:     float32(epoch.Loss),
		TrainingLoss:       float32(epoch.TrainLoss),
		GlobalStep:         uint64(len(t.result.Rates)),
		HardwareContext:    &leyline.HardwareContext{DeviceType: "cpu", DeviceId: "cpu:0"},
		TrainingMetrics: map[string]float32{
			metricEpochMS:      float32(epoch.Took.Seconds() * 1e3),
			metricLearningRate: float32(epoch.Rate),
			metricHostAccuracy: float32(epoch.HostAccuracy),
			metricFrontRests:   rests,
			metricBehindTrains: behind,
		},
	}
}
