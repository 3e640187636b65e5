package tolaria

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
)

// through takes the output of the hidden layer to what the head sees.
type through func(tape *kernel.Tape, hidden kernel.Value) (kernel.Value, error)

// pupil is what trains by one loss: a seed, the mixture of those that blend, or the
// host.
type pupil struct {
	through    through
	parameters []*kernel.Parameter
	seeds      []string
	headRests  bool
}

// pupils are what learns of the seeds now.
func (t *Trainer) pupils() []pupil {
	var pupils []pupil
	mixture := pupil{through: t.slot.Output, headRests: !t.config.TrainBehind}
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
				parameters: parameters, seeds: []string{seed.ID}, headRests: true,
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

// losses are the mean training losses of an epoch; nil and absent of what rested.
type losses struct {
	host  *float64
	seeds map[string]float64
}

func (l *losses) none() bool { return l.host == nil && len(l.seeds) == 0 }

// trialPatience is how many epochs in a row, those of a ramp not counted, the host rests
// for a seed without an order.
// Then nobody seems to decide on it, and the host trains on without what is on trial.
const trialPatience = 20

// ownWay is the way by which the host trains now; nil when it rests.
func (t *Trainer) ownWay() through {
	switch {
	case !t.blending():
		return t.slot.Output
	case t.waited >= trialPatience:
		return t.slot.Kept
	default:
		return nil
	}
}

// ramping says that the share of a seed rises, for which no orders are needed.
func ramping(seeds []graft.Seed) bool {
	return slices.ContainsFunc(seeds, func(s graft.Seed) bool { return s.Ramping })
}

// train makes the passes of one epoch.
func (t *Trainer) train() (losses, error) {
	pupils := t.pupils()
	own := t.ownWay()
	mean := losses{seeds: make(map[string]float64)}
	if own == nil && !ramping(t.slot.Seeds()) {
		t.waited++
	}
	if len(pupils) == 0 && own == nil {
		return mean, nil // seeds on trial are measured as they are
	}
	t.trained++
	t.rest(own == nil)
	batches, hostSum := 0, 0.0
	sums := make([]float64, len(pupils))
	for range t.config.Passes {
		err := t.config.Data.batches(t.rng, t.config.BatchSize, func(batch *Dataset) error {
			batches++
			if own != nil {
				loss, err := t.stepHost(batch, own, len(pupils) == 0)
				if err != nil {
					return err
				}
				hostSum += loss
			}
			return t.stepSeeds(batch, pupils, sums)
		})
		if err != nil {
			return losses{}, err
		}
	}
	if own != nil {
		mean.host = new(hostSum / float64(batches))
	}
	for i, pupil := range pupils {
		for _, id := range pupil.seeds {
			mean.seeds[id] = sums[i] / float64(batches)
		}
	}
	t.checkRest()
	return mean, nil
}

// rest notes the hidden layer as it comes to rest.
func (t *Trainer) rest(rests bool) {
	switch {
	case !rests:
		t.resting = nil
	case t.resting == nil:
		t.resting = graft.CopyWeights(t.network.Front())
	}
}

// checkRest compares the hidden layer with what it was when it came to rest.
func (t *Trainer) checkRest() {
	if t.resting != nil && !t.resting.Same(t.network.Front()) {
		t.result.HostUnchanged = false
	}
}

// own are the parameters that train by the host's own loss: its, and those of
// the seeds that became part of it.
func (t *Trainer) own() []*kernel.Parameter {
	parameters := parametersOf(t.network)
	for _, seed := range t.slot.Seeds() {
		if seed.Stage == stageFossilized {
			parameters = append(parameters, t.slot.Parameters(seed.ID)...)
		}
	}
	return parameters
}

// stepHost trains the host by its own loss; alone says that no seed has a turn
// after it.
func (t *Trainer) stepHost(batch *Dataset, way through, alone bool) (float64, error) {
	t.begin()
	loss, err := t.loss(batch, []pupil{{through: way}})
	if err != nil {
		return 0, err
	}
	if alone {
		t.graft.Step()
	}
	t.optimizer.Step(t.rate.Rate, t.own())
	t.hostSteps++
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
	losses, err := t.loss(batch, pupils)
	if err != nil {
		return err
	}
	var parameters []*kernel.Parameter
	headRests := true
	for i, pupil := range pupils {
		parameters = append(parameters, pupil.parameters...)
		headRests = headRests && pupil.headRests
		sums[i] += losses[i]
	}
	watched := parametersOf(t.network)
	if !headRests {
		watched = t.network.Front()
	}
	t.result.HostGradientMax = max(t.result.HostGradientMax, gradientMax(watched))
	t.graft.Step()
	t.optimizer.Step(t.config.SeedRate, parameters)
	if !headRests {
		t.optimizer.Step(t.rate.Rate, t.network.Behind())
	}
	t.count(t.config.SeedRate)
	zeroGradients(t.own())
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
func (t *Trainer) loss(batch *Dataset, pupils []pupil) ([]float64, error) {
	hidden, err := t.network.Hidden(t.tape, t.tape.Constant(batch.Inputs), false)
	if err != nil {
		return nil, err
	}
	values := make([]kernel.Value, len(pupils))
	for i, pupil := range pupils {
		if values[i], err = t.lossThrough(batch, hidden, pupil); err != nil {
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

func (t *Trainer) lossThrough(batch *Dataset, hidden kernel.Value, pupil pupil) (kernel.Value, error) {
	features, err := pupil.through(t.tape, hidden)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("at the slot: %w", err)
	}
	logits, err := t.network.Logits(t.tape, features, pupil.headRests)
	if err != nil {
		return kernel.Value{}, err
	}
	return t.tape.SoftmaxCrossEntropy(logits, batch.Labels)
}
