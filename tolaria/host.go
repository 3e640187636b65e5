package tolaria

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/esper-lite/weatherlight/kernel"
)

// Names of the host's layers. Seeds grow behind the trunk.
const (
	layerTrunk = "trunk"
	layerNeck  = "neck"
	layerHead  = "head"
)

// dense is a fully connected layer: x·weight + bias.
type dense struct {
	weight, bias *kernel.Parameter
}

// newDense draws weights after He et al. (2015), "Delving Deep into
// Rectifiers".
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

// forward applies the layer. A frozen layer's weights are constants of the
// tape: they have nowhere to store a gradient.
func (d *dense) forward(t *kernel.Tape, x kernel.Value, frozen bool) (kernel.Value, error) {
	record := t.Parameter
	if frozen {
		record = func(p *kernel.Parameter) kernel.Value { return t.Constant(p.Value) }
	}
	product, err := t.MatMul(x, record(d.weight))
	if err != nil {
		return kernel.Value{}, err
	}
	return t.Add(product, record(d.bias))
}

// Host is the network that seeds grow in: a trunk of the width of the seed
// slot, a narrow neck, and a head.
//
//	pixels [N,64] -> trunk -> [N,features] (seed slot) -> neck -> [N,neck] -> head -> logits [N,10]
//
// It has no bend of its own, so it comes to rest at what a linear map of its
// neck's rank can tell apart. That leaves a measurable gap for a seed to close.
type Host struct {
	trunk, neck, head *dense
}

// HostConfig sizes a host.
type HostConfig struct {
	// Inputs is the number of features of an example. Default: 64.
	Inputs int
	// Features is the width of the trunk's output and so of every seed.
	// Default: 32.
	Features int
	// Neck is the width of the bottleneck. Default: 3.
	Neck int
	// Classes is the number of labels. Default: 10.
	Classes int
}

func (c HostConfig) withDefaults() HostConfig {
	defaults := HostConfig{Inputs: digitPixels, Features: 32, Neck: 3, Classes: digitClasses}
	for _, field := range []struct{ value, fallback *int }{
		{&c.Inputs, &defaults.Inputs},
		{&c.Features, &defaults.Features},
		{&c.Neck, &defaults.Neck},
		{&c.Classes, &defaults.Classes},
	} {
		if *field.value <= 0 {
			*field.value = *field.fallback
		}
	}
	return c
}

// NewHost makes an untrained host whose weights depend on rng alone.
func NewHost(config HostConfig, rng *rand.Rand) *Host {
	config = config.withDefaults()
	return &Host{
		trunk: newDense(layerTrunk, config.Inputs, config.Features, rng),
		neck:  newDense(layerNeck, config.Features, config.Neck, rng),
		head:  newDense(layerHead, config.Neck, config.Classes, rng),
	}
}

// LayerNames lists the layers of every host, input side first. A germination
// command names them as its mesh.
func LayerNames() []string { return []string{layerTrunk, layerNeck, layerHead} }

// Parameters lists every weight of the host.
func (h *Host) Parameters() []*kernel.Parameter {
	var all []*kernel.Parameter
	for _, layer := range []*dense{h.trunk, h.neck, h.head} {
		all = append(all, layer.parameters()...)
	}
	return all
}

// Trunk computes the output of the seed slot, shape [N, features].
func (h *Host) Trunk(t *kernel.Tape, inputs kernel.Value, frozen bool) (kernel.Value, error) {
	features, err := h.trunk.forward(t, inputs, frozen)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("host trunk: %w", err)
	}
	return features, nil
}

// Logits computes the class scores from the output of the seed slot, shape
// [N, classes].
func (h *Host) Logits(t *kernel.Tape, features kernel.Value, frozen bool) (kernel.Value, error) {
	narrow, err := h.neck.forward(t, features, frozen)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("host neck: %w", err)
	}
	logits, err := h.head.forward(t, narrow, frozen)
	if err != nil {
		return kernel.Value{}, fmt.Errorf("host head: %w", err)
	}
	return logits, nil
}

// snapshot copies every weight's bits.
func (h *Host) snapshot() [][]uint32 {
	parameters := h.Parameters()
	bits := make([][]uint32, len(parameters))
	for i, parameter := range parameters {
		bits[i] = make([]uint32, len(parameter.Value.Data))
		for j, weight := range parameter.Value.Data {
			bits[i][j] = math.Float32bits(weight)
		}
	}
	return bits
}

// unchangedSince reports whether every weight still has the bits of an earlier
// snapshot.
func (h *Host) unchangedSince(bits [][]uint32) bool {
	for i, parameter := range h.Parameters() {
		for j, weight := range parameter.Value.Data {
			if math.Float32bits(weight) != bits[i][j] {
				return false
			}
		}
	}
	return true
}

// gradientMax is the largest absolute gradient stored for any weight.
func (h *Host) gradientMax() float32 {
	var largest float32
	for _, parameter := range h.Parameters() {
		if parameter.Grad == nil {
			continue
		}
		for _, gradient := range parameter.Grad.Data {
			largest = max(largest, float32(math.Abs(float64(gradient))))
		}
	}
	return largest
}

func (h *Host) zeroGradients() {
	for _, parameter := range h.Parameters() {
		parameter.ZeroGrad()
	}
}
