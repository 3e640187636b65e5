package tolaria

import (
	"encoding/json"
	"slices"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
)

// LeakGradients has the blend let the gradient through to the host, at the same
// output.
func (t *Trainer) LeakGradients() { t.slot = &leak{slot: t.slot, gradients: true} }

// LeakWeights has a seed that blends claim the weights of the layer in front of it
// for its own.
func (t *Trainer) LeakWeights() {
	t.slot = &leak{slot: t.slot, weights: t.network.Front()}
}

// Hidden are the weights of the layer in front of the seeds.
func (t *Trainer) Hidden() graft.Weights { return graft.CopyWeights(t.network.Front()) }

// HostSteps is how many steps the host itself trained in this process.
func (t *Trainer) HostSteps() int { return t.hostSteps }

// HostState is the host bit by bit, with its optimizer and its rate.
func (t *Trainer) HostState() string {
	parameters := parametersOf(t.network)
	text, err := json.Marshal([]any{graft.CopyWeights(parameters), t.optimizer.Get(parameters), t.rate})
	if err != nil {
		return err.Error()
	}
	return string(text)
}

type leak struct {
	slot

	gradients bool
	weights   []*kernel.Parameter
}

func (l *leak) blends(seedID string) bool {
	for _, seed := range l.Seeds() {
		if seed.Stage == stageBlending && (seedID == "" || seed.ID == seedID) {
			return true
		}
	}
	return false
}

func (l *leak) Output(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
	out, err := l.slot.Output(t, host)
	if err != nil || !l.gradients || !l.blends("") {
		return out, err
	}
	nothing, err := t.Sub(host, t.Detach(host))
	if err != nil {
		return kernel.Value{}, err
	}
	return t.Add(out, nothing)
}

func (l *leak) Parameters(seedID string) []*kernel.Parameter {
	parameters := l.slot.Parameters(seedID)
	if l.weights == nil || !l.blends(seedID) {
		return parameters
	}
	return slices.Concat(parameters, l.weights)
}
