package tolaria

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel/adam"
)

// seedHost is the trainer as the graft sees it.
type seedHost Trainer

// snapshot is the host and its optimizer at one moment.
type snapshot struct {
	Weights graft.Weights              `json:"weights"`
	Moments []*adam.Moments            `json:"moments"`
	OfKept  map[string][]*adam.Moments `json:"of_kept"` // of the seeds that were part of the network
	Rate    annealer                   `json:"rate"`
	Steps   int                        `json:"steps"` // of the host in this process; written down: since
}

// Snapshot copies the host with its optimizer.
func (h *seedHost) Snapshot(string) any {
	t := (*Trainer)(h)
	parameters := parametersOf(t.network)
	s := &snapshot{
		Weights: graft.CopyWeights(parameters), Moments: t.optimizer.Get(parameters),
		OfKept: make(map[string][]*adam.Moments), Rate: t.rate, Steps: t.hostSteps,
	}
	for _, seed := range t.slot.Seeds() {
		if had := h.momentsOf(seed.ID); seed.Stage == stageFossilized && len(had) > 0 {
			s.OfKept[seed.ID] = had
		}
	}
	return s
}

// EncodeSnapshot writes a snapshot down for the checkpoint of the seeds.
func (h *seedHost) EncodeSnapshot(from any) ([]byte, error) {
	s, ok := from.(*snapshot)
	if !ok {
		return nil, fmt.Errorf("write down a %T", from)
	}
	written := *s
	written.Steps = h.hostSteps - s.Steps
	return json.Marshal(written)
}

// DecodeSnapshot reads a snapshot, and looks whether it is of such a host.
func (h *seedHost) DecodeSnapshot(content []byte) (any, error) {
	t := (*Trainer)(h)
	s := new(snapshot)
	if err := json.Unmarshal(content, s); err != nil {
		return nil, err
	}
	if size := len(parametersOf(t.network)); len(s.Weights) != size || len(s.Moments) != size {
		return nil, fmt.Errorf("%d weights with %d moments, the host has %d", len(s.Weights), len(s.Moments), size)
	}
	for i, parameter := range parametersOf(t.network) {
		if len(s.Weights[i]) != parameter.Value.Size() {
			return nil, fmt.Errorf("%d weights of %s, the host has %d", len(s.Weights[i]), parameter.Name, parameter.Value.Size())
		}
	}
	if !validRate(s.Rate.Rate) {
		return nil, fmt.Errorf("a learning rate of %v", s.Rate.Rate)
	}
	s.Steps = t.hostSteps - s.Steps
	s.Rate.floor, s.Rate.patience = t.rate.floor, t.rate.patience
	return s, nil
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
	parameters := parametersOf(t.network)
	front := len(t.network.Front())
	switch {
	case scope == graft.Whole:
		t.rate = s.Rate
		return errors.Join(s.Weights.Restore(parameters), t.optimizer.Put(parameters, s.Moments), h.putBack(s.OfKept))
	case t.config.TrainBehind && s.Steps == t.hostSteps:
		head := parameters[front:]
		return errors.Join(s.Weights[front:].Restore(head), t.optimizer.Put(head, s.Moments[front:]))
	default:
		return nil
	}
}

// momentsOf are the optimizer's of a seed, also while its parameters are not known.
func (h *seedHost) momentsOf(seedID string) []*adam.Moments {
	if waiting, ok := h.waiting[seedID]; ok {
		return waiting
	}
	return h.optimizer.Get(h.members[seedID])
}

// putBack gives seeds that are still there the moments that they had.
func (h *seedHost) putBack(ofKept map[string][]*adam.Moments) error {
	var errs []error
	for _, seed := range h.slot.Seeds() {
		had, ok := ofKept[seed.ID]
		if !ok {
			continue
		}
		if members, known := h.members[seed.ID]; known {
			errs = append(errs, h.optimizer.Put(members, had))
		} else {
			h.waiting[seed.ID] = had
		}
	}
	return errors.Join(errs...)
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
