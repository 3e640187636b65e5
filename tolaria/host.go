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

// hostSize is the size of a host. All three are at least 1.
type hostSize struct {
	Inputs   int // features of an example
	Features int // width of the hidden layer, and so of every seed
	Classes  int // labels
}

// parameters is how many weights a host of this size has.
func (c hostSize) parameters() int {
	return (c.Inputs+1)*c.Features + (c.Features+1)*c.Classes
}

// ofSize is the same host as wide as makes it come closest to a number of
// parameters.
func (c hostSize) ofSize(parameters int) hostSize {
	perFeature := float64(c.Inputs + 1 + c.Classes)
	c.Features = max(1, int(math.Round(float64(parameters-c.Classes)/perFeature)))
	return c
}

func (c hostSize) check() error {
	if min(c.Inputs, c.Features, c.Classes) < 1 {
		return fmt.Errorf("%w: a host of %d inputs, %d features and %d classes", ErrConfig, c.Inputs, c.Features, c.Classes)
	}
	return nil
}

// newHost makes an untrained host whose weights depend on rng alone.
func newHost(config hostSize, rng *rand.Rand) *host {
	return &host{
		hidden: newDense(layerHidden, config.Inputs, config.Features, rng),
		head:   newDense(layerHead, config.Features, config.Classes, rng),
	}
}

// layerNames lists the layers of every host, input side first.
func layerNames() []string { return []string{layerHidden, layerHead} }

// Parameters lists every weight of the host, those in front of the slot first.
func (h *host) Parameters() []*kernel.Parameter {
	return slices.Concat(h.hidden.parameters(), h.head.parameters())
}

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
