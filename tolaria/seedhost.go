package tolaria

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
)

// seedHost is the trainer as the graft sees it.
type seedHost Trainer

// snapshot is the host and its optimizer at one moment.
type snapshot struct {
	weights graft.Weights
	moments []*moments
	kept    []*kernel.Parameter // of the seeds that were part of the network
	others  []*moments          // of kept
	rate    annealer
	steps   int // of the host
}

// Snapshot copies the host with its optimizer.
func (h *seedHost) Snapshot(string) any {
	t := (*Trainer)(h)
	parameters := t.network.Parameters()
	kept := t.own()[len(parameters):]
	return &snapshot{
		weights: graft.CopyWeights(parameters), moments: t.adam.Get(parameters),
		kept: kept, others: t.adam.Get(kept), rate: t.rate, steps: t.hostSteps,
	}
}

// Restore puts back the head, if it trained along, or all of the host. When the whole
// host has trained on since, as it does while the seed is paused, what the head learnt
// for the seed is no longer apart from the rest and stays.
func (h *seedHost) Restore(from any, scope graft.Scope) error {
	t := (*Trainer)(h)
	s, ok := from.(*snapshot)
	if !ok {
		return fmt.Errorf("restore the host from a %T", from)
	}
	parameters := t.network.Parameters()
	front := len(t.network.hidden.parameters())
	switch {
	case scope == graft.Whole:
		t.rate = s.rate
		return errors.Join(s.weights.Restore(parameters), t.adam.Put(parameters, s.moments), t.adam.Put(s.kept, s.others))
	case t.config.TrainBehind && s.steps == t.hostSteps:
		head := parameters[front:]
		return errors.Join(s.weights[front:].Restore(head), t.adam.Put(head, s.moments[front:]))
	default:
		return nil
	}
}

// Ids of the optimizers that an optimizer order may name, and what it may set.
const (
	optimizerHost  = "host" // or no name
	optimizerSeeds = "seeds"
	hyperRate      = "learning_rate"
)

// Optimizer sets a learning rate from the next step on.
func (h *seedHost) Optimizer(id string, hyperparameters map[string]float32) error {
	t := (*Trainer)(h)
	rate, named := hyperparameters[hyperRate]
	if !named || len(hyperparameters) > 1 {
		return fmt.Errorf("optimizer %.40q: only %q can be set", id, hyperRate)
	}
	if !validRate(float64(rate)) {
		return fmt.Errorf("optimizer %.40q: a learning rate of %v", id, rate)
	}
	switch id {
	case "", optimizerHost:
		t.rate.restart(float64(rate))
	case optimizerSeeds:
		t.config.SeedRate = float64(rate)
	default:
		return fmt.Errorf("there is no optimizer %.40q", id)
	}
	return nil
}
