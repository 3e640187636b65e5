package tolaria

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// Names of the host's layers. Seeds grow behind the hidden one, whose name is
// that of the slot.
const (
	layerHidden = "hidden"
	layerHead   = "head"
)

// dense is a fully connected layer: x·weight + bias.
type dense struct {
	weight, bias *kernel.Parameter
}

// newDense draws weights after He et al. (2015), "Delving Deep into Rectifiers".
func newDense(name string, in, out int, rng *rand.Rand) *dense {
	weight := kernel.NewTensor(in, out)
	spread := math.Sqrt(2 / float64(in))
	for i := range weight.Data {
		weight.Data[i] = float32(rng.NormFloat64() * spread)
	}
	return &dense{
		weight: kernel.NewParameter(name+".weight", weight),
		bias:   kernel.NewParameter(name+".bias", kernel.NewTensor(out)),
	}
}

func (d *dense) parameters() []*kernel.Parameter { return []*kernel.Parameter{d.weight, d.bias} }

// forward applies the layer. The weights of one that rests are constants of the
// tape: they have nowhere to store a gradient.
func (d *dense) forward(t *kernel.Tape, x kernel.Value, rests bool) (kernel.Value, error) {
	record := t.Parameter
	if rests {
		record = func(p *kernel.Parameter) kernel.Value { return t.Constant(p.Value) }
	}
	product, err := t.MatMul(x, record(d.weight))
	if err != nil {
		return kernel.Value{}, err
	}
	return t.Add(product, record(d.bias))
}

// host is the network that seeds grow in, small and whole: one hidden layer with
// a bend, and a head.
//
//	inputs [N,inputs] -> hidden, relu -> [N,features] (slot of the seeds) -> head -> logits [N,classes]
type host struct {
	hidden, head *dense
}

// ofSize is the same host as wide as makes it come closest to a number of
// parameters.
func (c Size) ofSize(parameters int) Size {
	perFeature := float64(c.Inputs + 1 + c.Classes)
	c.Features = max(1, int(math.Round(float64(parameters-c.Classes)/perFeature)))
	return c
}

func (c Size) check() error {
	if min(c.Inputs, c.Features, c.Classes) < 1 {
		return fmt.Errorf("%w: a host of %d inputs, %d features and %d classes", ErrConfig, c.Inputs, c.Features, c.Classes)
	}
	return nil
}

// newHost makes an untrained host whose weights depend on rng alone.
func newHost(rng *rand.Rand, config Size) Model {
	return &host{
		hidden: newDense(layerHidden, config.Inputs, config.Features, rng),
		head:   newDense(layerHead, config.Features, config.Classes, rng),
	}
}

// layerNames lists the layers of every host, input side first.
func layerNames() []string { return []string{layerHidden, layerHead} }

func (h *host) Front() []*kernel.Parameter  { return h.hidden.parameters() }
func (h *host) Behind() []*kernel.Parameter { return h.head.parameters() }

// parametersOf lists every weight of a host, those in front of the slot first.
func parametersOf(m Model) []*kernel.Parameter { return slices.Concat(m.Front(), m.Behind()) }

// Hidden computes the output of the hidden layer, shape [N, features].
func (h *host) Hidden(t *kernel.Tape, inputs kernel.Value, rests bool) (kernel.Value, error) {
	sums, err := h.hidden.forward(t, inputs, rests)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("host's hidden layer: %w", err)
	}
	return t.Relu(sums)
}

// Logits computes the class scores from what the head sees at the slot, shape
// [N, classes].
func (h *host) Logits(t *kernel.Tape, features kernel.Value, rests bool) (kernel.Value, error) {
	logits, err := h.head.forward(t, features, rests)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("host's head: %w", err)
	}
	return logits, nil
}

// gradientMax is the largest absolute gradient stored for any of the parameters;
// NaN when one is none.
func gradientMax(parameters []*kernel.Parameter) float64 {
	largest := 0.0
	for _, parameter := range parameters {
		if parameter.Grad == nil {
			continue
		}
		for _, gradient := range parameter.Grad.Data {
			largest = max(largest, math.Abs(float64(gradient))) // keeps a NaN
		}
	}
	return largest
}

func zeroGradients(parameters []*kernel.Parameter) {
	for _, parameter := range parameters {
		parameter.ZeroGrad()
	}
}

func countParameters(parameters []*kernel.Parameter) int {
	count := 0
	for _, parameter := range parameters {
		count += parameter.Value.Size()
	}
	return count
}
