package tolaria

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/kasmina/graft"
)

// Result is what a run came to.
type Result struct {
	// RunID names the run on the bus.
	RunID string
	// HostAccuracy is that on the test set, 0 to 1, of the host as it was when its
	// first seed germinated; GrownAccuracy that of the network at the end.
	HostAccuracy, GrownAccuracy float64
	// HostParameters and GrownParameters are how many weights there were at the
	// beginning, and are at the end in what makes the output.
	HostParameters, GrownParameters int
	// Kept and Dropped count the seeds that became part of the network, and those
	// that were taken out again.
	Kept, Dropped int
	// HostGradientMax is the largest absolute gradient that reached a weight of the
	// host that rests while seeds train.
	HostGradientMax float64
	// HostUnchanged says that the layer in front of the seeds kept every bit while it
	// was to rest, from the beginning of each blend to its end.
	HostUnchanged bool
	// Rates are the learning rates of all steps, the host's and the seeds'.
	Rates []float64
	// Epochs are the measurements in order.
	Epochs []Epoch
}

func (t *Trainer) finish() (*Result, error) {
	grown, err := t.answer(t.config.Data.Test, t.slot.Output)
	if err != nil {
		return nil, fmt.Errorf("measure grown network: %w", err)
	}
	t.result.GrownAccuracy = mean(grown.right)
	if !t.germinated {
		t.result.HostAccuracy = t.result.GrownAccuracy
	}
	t.result.GrownParameters = t.result.HostParameters
	for _, seed := range t.slot.Seeds() {
		if seed.Share > 0 {
			t.result.GrownParameters += seed.Size
		}
	}
	result := t.result
	return &result, nil
}

// Plain is what a network came to that was trained without seeds.
type Plain struct {
	Accuracy   float64 // on the test set, 0 to 1
	Parameters int
}

// errEnough ends the passes of a plain training.
var errEnough = errors.New("enough steps")

// TrainPlain trains a host without seeds, for comparison: on the data, with the
// seed and with the learning rates of a run, step by step. Its size is the
// config's, or the one that comes closest to a number of parameters, when that is
// not 0, which is for the default model alone. With the same size it is the same host, up to the first seed of the run.
func TrainPlain(ctx context.Context, config Config, rates []float64, parameters int) (Plain, error) {
	config.Graft, config.Resume = graft.Config{}, ""
	own := config.Model != nil
	if err := config.complete(); err != nil {
		return Plain{}, err
	}
	if parameters > 0 {
		if own {
			return Plain{}, fmt.Errorf("%w: how wide is a model of one's own with %d parameters?", ErrConfig, parameters)
		}
		size, err := config.hostConfig()
		if err != nil {
			return Plain{}, err
		}
		config.Slot = []int{size.ofSize(parameters).Features}
	}
	t, err := NewTrainer(config)
	if err != nil {
		return Plain{}, err
	}
	for len(t.result.Rates) < len(rates) {
		err := config.Data.batches(t.rng, config.BatchSize, func(batch *Dataset) error {
			done := len(t.result.Rates)
			if done == len(rates) {
				return errEnough
			}
			t.rate.Rate = rates[done]
			_, err := t.stepHost(batch, t.slot.Output, true)
			return errors.Join(err, ctx.Err())
		})
		if err != nil && !errors.Is(err, errEnough) {
			return Plain{}, fmt.Errorf("train without seeds: %w", err)
		}
	}
	result, err := t.finish()
	if err != nil {
		return Plain{}, err
	}
	return Plain{Accuracy: result.GrownAccuracy, Parameters: result.HostParameters}, nil
}
