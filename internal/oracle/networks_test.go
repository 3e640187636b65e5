//go:build oracle

package oracle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// networkKernels are the files of whole networks that were trained: a host of two
// layers with a kept seed of each blend between them, in every form of slot.
func networkKernels(t *testing.T) []*comparison {
	t.Helper()
	var list []*comparison
	for _, shape := range [][]int{{4}, {3, 4}, {2, 3, 4}} {
		n := newNetwork(t, shape)
		n.grow()
		file, err := graft.Export("network", []int{inputs}, []int{outputs}, n.first.export, n.slot.FlatLayer, n.last.export)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, &comparison{
			name: fmt.Sprintf("network-%d", len(shape)), title: "a grown network", slot: fmt.Sprint(shape), file: file, examples: examples,
			live: n.forward,
		})
	}
	return list
}

// Sizes of the host of a grown network.
const (
	inputs  = 6
	outputs = 3
)

// layer is one of the host's: a product with weights that learn.
type layer struct{ weight *kernel.Parameter }

func newLayer(name string, in, out int) layer {
	return layer{kernel.NewParameter(name, scaled(sample(uint64(out), in, out), 0.5))}
}

func (l layer) forward(tape *kernel.Tape, input kernel.Value) (kernel.Value, error) {
	return tape.MatMul(input, tape.Parameter(l.weight))
}

func (l layer) export(b *kernel.Builder, input string) string {
	b.Init(l.weight.Name+".w", l.weight.Value)
	b.Node("MatMul", []string{input, l.weight.Name + ".w"}, l.weight.Name)
	return l.weight.Name
}

// network is a host with a slot between its layers.
type network struct {
	*garden
	shape       []int
	first, last layer
	slot        *graft.Slot
}

const between = "between" // the layers: the name of the slot

func newNetwork(t *testing.T, shape []int) *network {
	t.Helper()
	size := 1
	for _, d := range shape {
		size *= d
	}
	g := newGarden(t)
	n := &network{garden: g, shape: shape, first: newLayer("first", inputs, size), last: newLayer("last", size, outputs)}
	n.slot = g.slot(between, shape)
	g.open()
	return n
}

func (n *network) forward(tape *kernel.Tape, input kernel.Value) (kernel.Value, error) {
	return n.through(tape, input, n.slot.Output)
}

func (n *network) through(tape *kernel.Tape, input kernel.Value, way forward) (kernel.Value, error) {
	hidden, err := n.first.forward(tape, input)
	if err != nil {
		return kernel.Value{}, err
	}
	seen, err := way(tape, hidden)
	if err != nil {
		return kernel.Value{}, err
	}
	return n.last.forward(tape, seen)
}

// grow keeps a seed of each blend, and trains on with all of them.
func (n *network) grow() {
	n.t.Helper()
	for i, blend := range n.blends() {
		seed := fmt.Sprint("seed-", i)
		n.attach(seed, between, n.seedFile(uint64(i)), blend)
		n.learn(seed, func(tape *kernel.Tape, hidden kernel.Value) (kernel.Value, error) {
			return n.slot.Isolated(tape, seed, hidden)
		})
		n.tell(trainer.BlendIn, seed)
		n.learn(seed, n.slot.Output)
		for _, kind := range []trainer.Kind{trainer.Hold, trainer.Judge, trainer.Keep, trainer.Tune} {
			n.tell(kind, seed)
		}
	}
	n.train(n.forward, []int{inputs}, n.parameters)
	if seeds := n.slot.Seeds(); len(seeds) != len(n.blends()) {
		n.t.Fatalf("seeds %v", seeds)
	}
}

func (n *network) tell(kind trainer.Kind, seed string) {
	n.t.Helper()
	n.order(trainer.Order{Kind: kind, Seed: seed, Slot: between})
}

// learn trains one seed by the network's own loss.
func (n *network) learn(seed string, way forward) {
	n.t.Helper()
	whole := func(tape *kernel.Tape, input kernel.Value) (kernel.Value, error) { return n.through(tape, input, way) }
	n.train(whole, []int{inputs}, func() []*kernel.Parameter { return n.slot.Parameters(seed) })
}

// parameters are the host's, and those of its seeds.
func (n *network) parameters() []*kernel.Parameter {
	list := []*kernel.Parameter{n.first.weight, n.last.weight}
	for _, seed := range n.slot.Seeds() {
		list = slices.Concat(list, n.slot.Parameters(seed.ID))
	}
	return list
}

func (n *network) blends() []trainer.Blend {
	channels := make([]float32, n.shape[0])
	for i := range channels {
		channels[i] = float32(i+1) / float32(len(channels)+1)
	}
	return []trainer.Blend{
		{Mode: trainer.Convex}, {Mode: trainer.Residual}, {Mode: trainer.Channel, Channels: channels},
		{Mode: trainer.Confidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9},
	}
}

// seedFile is a kernel with weights and with running statistics.
func (n *network) seedFile(number uint64) []byte {
	n.t.Helper()
	width, channels := n.shape[len(n.shape)-1], n.shape[0]
	b := kernel.NewBuilderFor("seed", n.shape...)
	b.Init("w", sample(number, width, width))
	b.Init("scale", filled(1, channels))
	b.Init("shift", filled(0, channels))
	b.Init("mean", filled(0, channels))
	b.Init("variance", filled(1, channels))
	b.Node("MatMul", []string{"host", "w"}, "product")
	b.Node("BatchNormalization", []string{"product", "scale", "shift", "mean", "variance"}, "normal")
	b.Node("Tanh", []string{"normal"}, "seed")
	return bytesOf(n.t, b)
}

func filled(value float32, size int) *kernel.Tensor {
	x := kernel.NewTensor(size)
	for i := range x.Data {
		x.Data[i] = value
	}
	return x
}
