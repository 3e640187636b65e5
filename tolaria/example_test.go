package tolaria_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/adam"
	"github.com/esper-lite/weatherlight/tolaria"
)

// layer is x·weight + bias.
type layer struct{ weight, bias *kernel.Parameter }

func newLayer(name string, in, out int, rng *rand.Rand) layer {
	weight := kernel.NewTensor(in, out)
	for i := range weight.Data {
		weight.Data[i] = float32(rng.NormFloat64() / math.Sqrt(float64(in)))
	}
	return layer{kernel.NewParameter(name+".weight", weight), kernel.NewParameter(name+".bias", kernel.NewTensor(out))}
}

func (l layer) of(t *kernel.Tape, x kernel.Value, rests bool) (kernel.Value, error) {
	weight, bias := t.Constant(l.weight.Value), t.Constant(l.bias.Value)
	if !rests {
		weight, bias = t.Parameter(l.weight), t.Parameter(l.bias)
	}
	product, err := t.MatMul(x, weight)
	if err != nil {
		return kernel.Value{}, err
	}
	return t.Add(product, bias)
}

func (l layer) parameters() []*kernel.Parameter { return []*kernel.Parameter{l.weight, l.bias} }

// model is a network with tanh in place of a bend.
type model struct{ front, behind layer }

func newModel(rng *rand.Rand, size tolaria.Size) tolaria.Model {
	return &model{newLayer("front", size.Inputs, size.Features, rng), newLayer("behind", size.Features, size.Classes, rng)}
}

func (m *model) Hidden(t *kernel.Tape, inputs kernel.Value, rests bool) (kernel.Value, error) {
	sums, err := m.front.of(t, inputs, rests)
	if err != nil {
		return kernel.Value{}, err
	}
	return t.Tanh(sums)
}

func (m *model) Logits(t *kernel.Tape, features kernel.Value, rests bool) (kernel.Value, error) {
	return m.behind.of(t, features, rests)
}

func (m *model) Front() []*kernel.Parameter  { return m.front.parameters() }
func (m *model) Behind() []*kernel.Parameter { return m.behind.parameters() }

// momentum is gradient descent with a heavy ball: of the moments it has the first.
type momentum struct {
	of map[*kernel.Parameter][]float64
}

func (o *momentum) Step(rate float64, parameters []*kernel.Parameter) {
	for _, p := range parameters {
		if p.Grad == nil {
			continue
		}
		if o.of[p] == nil {
			o.of[p] = make([]float64, p.Value.Size())
		}
		for i, gradient := range p.Grad.Data {
			o.of[p][i] = 0.9*o.of[p][i] + float64(gradient)
			p.Value.Data[i] -= float32(rate * o.of[p][i])
		}
		p.ZeroGrad()
	}
}

func (o *momentum) Get(parameters []*kernel.Parameter) []*adam.Moments {
	states := make([]*adam.Moments, len(parameters))
	for i, p := range parameters {
		if had := o.of[p]; had != nil {
			states[i] = &adam.Moments{First: append([]float64(nil), had...)}
		}
	}
	return states
}

var errState = errors.New("no state of these weights")

func (o *momentum) Put(parameters []*kernel.Parameter, states []*adam.Moments) error {
	if len(states) != len(parameters) {
		return errState
	}
	o.Forget(parameters)
	for i, state := range states {
		if state == nil {
			continue
		}
		if len(state.First) != parameters[i].Value.Size() {
			return errState
		}
		o.of[parameters[i]] = append([]float64(nil), state.First...)
	}
	return nil
}

func (o *momentum) Forget(parameters []*kernel.Parameter) {
	for _, p := range parameters {
		delete(o.of, p)
	}
}

// rings are points that lie within a circle or around it.
func rings(rng *rand.Rand, n int) *tolaria.Dataset {
	points := &tolaria.Dataset{Inputs: kernel.NewTensor(n, 2), Labels: make([]int, n)}
	for i := range n {
		points.Labels[i] = i % 2
		angle, radius := rng.Float64()*2*math.Pi, float64(i%2)+0.3*rng.Float64()
		points.Inputs.Data[2*i] = float32(radius * math.Cos(angle))
		points.Inputs.Data[2*i+1] = float32(radius * math.Sin(angle))
	}
	return points
}

// own is a trainer of a model, data and an optimizer that are not ours.
func own() tolaria.Config {
	rng := rand.New(rand.NewPCG(1, 1))
	return tolaria.Config{
		RunID: "rings", Experiment: "rings", Slot: []int{8}, MaxEpochs: 30, HostRate: 0.05,
		Data:      &tolaria.Data{Split: rings(rng, 500).Split(rng)},
		Model:     newModel,
		Optimizer: func() tolaria.Optimizer { return &momentum{of: map[*kernel.Parameter][]float64{}} },
	}
}

// Example trains a network of one's own on data of one's own. With a bus in Config.Graft seeds
// would grow between its two layers.
func Example() {
	trainer, err := tolaria.NewTrainer(own())
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := trainer.Run(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("parameters:", result.HostParameters)
	fmt.Println("tells them apart:", result.GrownAccuracy > 0.95)
	// Output:
	// parameters: 42
	// tells them apart: true
}
