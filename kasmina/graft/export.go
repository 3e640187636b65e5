package graft

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// Layer is a part of a network as a graph: it adds nodes that read the value
// named input, and returns the name of their output. The names it uses are its
// own among those of the network.
type Layer func(b *kernel.Builder, input string) (output string)

// Export is a whole network as one ONNX file of the kernels' profile, from an
// input "host", [N, input...], to an output "seed", [N, output...]. Its layers
// follow each other, input side first: the host's, which the caller writes, and
// [Slot.Layer] where seeds were kept.
func Export(name string, input, output []int, layers ...Layer) ([]byte, error) {
	if len(layers) == 0 {
		return nil, errors.New("graft: export a network without layers")
	}
	b := kernel.NewNetworkBuilder(name, input, output)
	value := "host"
	for _, layer := range layers {
		value = layer(b, value)
	}
	b.Node("Identity", []string{value}, "seed")
	file, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("export network %q: %w", name, err)
	}
	return file, nil
}

// Layer is the slot's kept seeds with their weights as they are now, one behind
// the other, for activations in the slot's shape. A slot without kept seeds adds
// nothing. Paused seeds are left out, as they are of the output.
func (s *Slot) Layer(b *kernel.Builder, input string) string {
	value := input
	for i, seed := range s.seeds {
		if !seed.kept() || seed.paused {
			continue
		}
		prefix := fmt.Sprintf("slot%d.seed%d.", s.index, i)
		out := b.Inline(prefix, seed.instance, value)
		value = seed.inline(b, prefix+"blend.", value, out)
	}
	return value
}

// FlatLayer is Layer for activations whose examples are flat, one row each.
func (s *Slot) FlatLayer(b *kernel.Builder, input string) string {
	if len(s.shape) == 1 {
		return s.Layer(b, input)
	}
	prefix := fmt.Sprintf("slot%d.", s.index)
	sizes := []int64{0} // the batch, as it is
	for _, d := range s.shape {
		sizes = append(sizes, int64(d))
	}
	b.InitInts(prefix+"shape", sizes...)
	b.Node("Reshape", []string{input, prefix + "shape"}, prefix+"shaped")
	out := s.Layer(b, prefix+"shaped")
	b.Node("Flatten", []string{out}, prefix+"flat", kernel.IntAttr("axis", 1))
	return prefix + "flat"
}

// inline adds the seed's blend at a share of 1.
func (s *seed) inline(b *kernel.Builder, prefix, host, out string) string {
	switch s.blend.Mode {
	case trainer.Residual:
		b.Node("Add", []string{host, out}, prefix+"sum")
		return prefix + "sum"
	case trainer.Channel:
		shares := kernel.NewTensor(s.channelDims()...)
		copy(shares.Data, s.blend.Channels)
		b.Frozen(prefix+"shares", shares)
	case trainer.Confidence:
		s.inlineGate(b, prefix, out)
	default:
		return out
	}
	b.Frozen(prefix+"one", kernel.FromSlice([]float32{1}))
	b.Node("Sub", []string{prefix + "one", prefix + "shares"}, prefix+"rest")
	b.Node("Mul", []string{prefix + "shares", out}, prefix+"grown")
	b.Node("Mul", []string{prefix + "rest", host}, prefix+"held")
	b.Node("Add", []string{prefix + "grown", prefix + "held"}, prefix+"sum")
	return prefix + "sum"
}

// channelDims lines one weight a channel up with dimension 1 of a batch.
func (s *seed) channelDims() []int {
	dims := make([]int, len(s.slot.shape))
	for i := range dims {
		dims[i] = 1
	}
	dims[0] = len(s.blend.Channels)
	return dims
}

// lowest stands below every score.
const lowest = -3.4e38

// inlineGate adds the shares of a confidence blend: clamp(sigmoid(k·(margin -
// tau)), low, top). The margin is that of the two largest scores along dimension
// 1, 0 when the largest is there twice.
func (s *seed) inlineGate(b *kernel.Builder, prefix, scores string) {
	constant := func(name string, value float64) string {
		b.Frozen(prefix+name, kernel.FromSlice([]float32{float32(value)}))
		return prefix + name
	}
	node := func(op, output string, inputs ...string) string {
		b.Node(op, inputs, prefix+output)
		return prefix + output
	}
	reduced := func(output, input string) string {
		b.Node("ReduceMax", []string{input}, prefix+output, kernel.IntsAttr("axes", 1), kernel.IntAttr("keepdims", 1))
		return prefix + output
	}
	zero, unit := constant("zero", 0), constant("unit", 1)
	first := reduced("first", scores)
	isFirst := node("Equal", "is_first", scores, first)
	second := reduced("second", node("Where", "others", isFirst, constant("lowest", lowest), scores))
	b.InitInts(prefix+"axis", 1)
	times := node("ReduceSum", "times", node("Where", "hits", isFirst, unit, zero), prefix+"axis")
	margin := node("Where", "margin", node("Greater", "tied", times, unit), zero, node("Sub", "lead", first, second))
	centred := node("Sub", "centred", margin, constant("tau", s.blend.GateTau))
	gate := node("Sigmoid", "gate", node("Mul", "steep", centred, constant("k", s.blend.GateK)))
	node("Clip", "shares", gate, constant("low", s.blend.AlphaLow), constant("top", s.blend.AlphaTop))
}
