package tolaria

import (
	"fmt"

	"github.com/esper-lite/weatherlight/kernel"
)

// through takes the output of the hidden layer to what the head sees.
type through func(tape *kernel.Tape, hidden kernel.Value) (kernel.Value, error)

// pupil is a seed, or the mixture of those that blend, that trains in this epoch.
type pupil struct {
	through    through
	parameters []*kernel.Parameter
	seeds      []string
	behind     bool // the head trains along
}

// pupils are what learns of the seeds now.
func (t *Trainer) pupils() []pupil {
	var pupils []pupil
	mixture := pupil{through: t.slot.Output, behind: t.config.TrainBehind}
	for _, seed := range t.trials() {
		parameters := t.slot.Parameters(seed.ID)
		if parameters == nil && seed.Stage != stageBlending || seed.Paused {
			continue
		}
		switch seed.Stage {
		case stageTraining:
			pupils = append(pupils, pupil{
				through: func(tape *kernel.Tape, hidden kernel.Value) (kernel.Value, error) {
					return t.slot.Isolated(tape, seed.ID, hidden)
				},
				parameters: parameters, seeds: []string{seed.ID},
			})
		case stageBlending:
			mixture.parameters = append(mixture.parameters, parameters...)
			mixture.seeds = append(mixture.seeds, seed.ID)
		}
	}
	if len(mixture.seeds) > 0 {
		pupils = append(pupils, mixture)
	}
	return pupils
}

// losses are the mean training losses of an epoch.
type losses struct {
	host  float64
	seeds map[string]float64
}

// train makes the passes of one epoch.
func (t *Trainer) train() (losses, error) {
	pupils, hostTrains := t.pupils(), !t.blending()
	mean := losses{seeds: make(map[string]float64)}
	if len(pupils) == 0 && !hostTrains {
		return mean, nil // seeds on trial are measured as they are
	}
	batches := 0
	sums := make([]float64, len(pupils))
	for range t.config.Passes {
		err := t.config.Data.batches(t.rng, t.config.BatchSize, func(batch *Dataset) error {
			batches++
			if hostTrains {
				loss, err := t.stepHost(batch, len(pupils) == 0)
				if err != nil {
					return err
				}
				mean.host += loss
			}
			return t.stepSeeds(batch, pupils, sums)
		})
		if err != nil {
			return losses{}, err
		}
	}
	mean.host /= float64(batches)
	for i, pupil := range pupils {
		for _, id := range pupil.seeds {
			mean.seeds[id] = sums[i] / float64(batches)
		}
	}
	t.checkRest()
	return mean, nil
}

// checkRest compares the hidden layer with what it was when the blend began.
func (t *Trainer) checkRest() {
	if t.resting != nil && !t.resting.match(t.network.hidden.parameters()) {
		t.result.HostUnchanged = false
	}
}

// own are the parameters that train by the host's own loss: its, and those of
// the seeds that became part of it.
func (t *Trainer) own() []*kernel.Parameter {
	parameters := t.network.Parameters()
	for _, seed := range t.slot.Seeds() {
		if seed.Stage == stageFossilized {
			parameters = append(parameters, t.slot.Parameters(seed.ID)...)
		}
	}
	return parameters
}

// stepHost trains the host by its own loss; alone says that no seed has a turn
// after it.
func (t *Trainer) stepHost(batch *Dataset, alone bool) (float64, error) {
	t.begin()
	loss, err := t.loss(batch, []through{t.slot.Output}, false)
	if err != nil {
		return 0, err
	}
	if alone {
		t.graft.Step()
	}
	t.adam.Step(t.rate.Rate, t.own())
	t.count(t.rate.Rate)
	return loss[0], nil
}

// stepSeeds trains the growing seeds on one batch, all in one backward pass. The
// hidden layer records where its gradients would go, so that one that leaked
// through a blend would be seen.
func (t *Trainer) stepSeeds(batch *Dataset, pupils []pupil, sums []float64) error {
	if len(pupils) == 0 {
		return nil
	}
	t.begin()
	ways := make([]through, len(pupils))
	var parameters []*kernel.Parameter
	behind := false
	for i, pupil := range pupils {
		ways[i] = pupil.through
		parameters = append(parameters, pupil.parameters...)
		behind = behind || pupil.behind
	}
	losses, err := t.loss(batch, ways, !behind)
	if err != nil {
		return err
	}
	for i, loss := range losses {
		sums[i] += loss
	}
	watched := t.network.Parameters()
	if behind {
		watched = t.network.hidden.parameters()
	}
	t.result.HostGradientMax = max(t.result.HostGradientMax, gradientMax(watched))
	t.graft.Step()
	t.adam.Step(t.config.SeedRate, parameters)
	if behind {
		t.adam.Step(t.rate.Rate, t.network.head.parameters())
	}
	t.count(t.config.SeedRate)
	zeroGradients(t.network.Parameters())
	return nil
}

func (t *Trainer) begin() {
	t.tape.Reset()
	t.tape.Train(t.dropping)
}

// count notes one optimizer step and its learning rate.
func (t *Trainer) count(rate float64) { t.result.Rates = append(t.result.Rates, rate) }

// loss runs forward and backward over one batch and returns the loss of each way
// through the slot.
func (t *Trainer) loss(batch *Dataset, ways []through, headRests bool) ([]float64, error) {
	hidden, err := t.network.Hidden(t.tape, t.tape.Constant(batch.Inputs), false)
	if err != nil {
		return nil, err
	}
	values := make([]kernel.Value, len(ways))
	for i, way := range ways {
		if values[i], err = t.lossThrough(batch, hidden, way, headRests); err != nil {
			return nil, err
		}
	}
	total := values[0]
	for _, value := range values[1:] {
		if total, err = t.tape.Add(total, value); err != nil {
			return nil, err
		}
	}
	if err := t.tape.Backward(total); err != nil {
		return nil, err
	}
	losses := make([]float64, len(values))
	for i, value := range values {
		losses[i] = float64(value.Tensor().Data[0])
	}
	return losses, nil
}

func (t *Trainer) lossThrough(batch *Dataset, hidden kernel.Value, way through, headRests bool) (kernel.Value, error) {
	features, err := way(t.tape, hidden)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("at the slot: %w", err)
	}
	logits, err := t.network.Logits(t.tape, features, headRests)
	if err != nil {
		return kernel.Value{}, err
	}
	return t.tape.SoftmaxCrossEntropy(logits, batch.Labels)
}
