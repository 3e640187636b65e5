package tezzeret

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

// window is one convolution. Its output has as many positions as its input.
type window struct {
	size     int  // taps along each axis
	dilation int  // distance of two taps, 1 when zero
	groups   int  // 1 when zero
	causal   bool // sees the position itself and earlier ones only
	small    bool // the last layer of a branch
}

// conv convolves [C, grid...] into out channels.
func (g *graph) conv(x string, out int, w window) string {
	w.dilation, w.groups = max(1, w.dilation), max(1, w.groups)
	axes := len(g.shape[x]) - 1
	weight := g.trainable("kernel", g.convWeights(g.shape[x][0]/w.groups, out, axes, w))
	inputs := []string{x, weight, g.trainable("bias", g.weights.filled(0, out))}
	shape := append([]int{out}, g.shape[x][1:]...)
	return g.applyTo("Conv", shape, inputs,
		kernel.IntsAttr("dilations", repeated(w.dilation, axes)...),
		kernel.IntAttr("group", int64(w.groups)),
		kernel.IntsAttr("pads", w.pads(axes)...))
}

// convWeights is the start of a convolution: as a rectifier wants it, or small.
func (g *graph) convWeights(in, out, axes int, w window) *kernel.Tensor {
	taps, shape := 1, []int{out, in}
	for range axes {
		taps *= w.size
		shape = append(shape, w.size)
	}
	if w.small {
		return g.weights.uniform(gentle*math.Sqrt(6/float64((in+out)*taps)), shape...)
	}
	return g.weights.uniform(math.Sqrt(6/float64(in*taps)), shape...)
}

// pads keeps the number of positions: what a tap reads beyond the edge is
// zero, and an even window has its extra tap after the position.
func (w window) pads(axes int) []int64 {
	reach := (w.size - 1) * w.dilation
	before, after := reach/2, reach-reach/2
	if w.causal {
		before, after = reach, 0
	}
	return append(repeated(before, axes), repeated(after, axes)...)
}

func repeated(value, times int) []int64 {
	list := make([]int64, times)
	for i := range list {
		list[i] = int64(value)
	}
	return list
}

// lifted is the number of channels that a convolutional branch works in: the
// slot's own, but at least eight.
func (g *graph) lifted() int { return max(8, g.features) }

// project is a 1×1 convolution back to the slot's channels that starts small,
// added to the input.
func (g *graph) project(x string) string {
	return g.binary("Add", g.input, g.conv(x, g.features, window{size: 1, small: true}))
}

func (g *graph) reluConv(x string, out int, w window) string {
	return g.unary("Relu", g.conv(x, out, w))
}

// groupedConv is a bottleneck y = x + P·relu(G·relu(E·x)) of 1×1, grouped and
// 1×1 convolutions; G has three taps an axis and the given number of groups
// (Xie et al. 2017, "Aggregated residual transformations", ResNeXt).
func groupedConv(g *graph) string {
	groups := count(g.params["groups"])
	hidden := groups * ceilDiv(g.lifted(), groups)
	x := g.reluConv(g.input, hidden, window{size: 1})
	return g.project(g.reluConv(x, hidden, window{size: 3, groups: groups}))
}

// depthwiseSeparable is y = x + P·relu(D·relu(E·x)): channels are mixed by 1×1
// convolutions only, positions by one window of the kernel's size a channel
// (Chollet 2017, "Xception"; Sandler et al. 2018, "MobileNetV2").
func depthwiseSeparable(g *graph) string {
	x := g.reluConv(g.input, g.lifted(), window{size: 1})
	return g.project(g.reluConv(x, g.lifted(), window{size: count(g.params["kernel"]), groups: g.lifted()}))
}

// dynamicConv is y = x + P·relu(Σₑ πₑ·(Kₑ∗x)) with the gate π = softmax(G·mean
// of x) over the experts. The kernels are mixed after the convolution, which is
// the same as before it (Chen et al. 2020, "Dynamic convolution"; Yang et al.
// 2019, "CondConv").
func dynamicConv(g *graph) string {
	experts, hidden := count(g.params["experts"]), g.lifted()
	summary := g.input
	for range g.grid {
		summary = g.mean(summary, len(g.shape[summary])-1, false)
	}
	gate := g.softmax(g.linear(summary, g.weights.glorot(g.features, experts), 0))
	wide := g.conv(g.input, experts*hidden, window{size: 3})
	split := g.reshape(wide, append([]int{experts, hidden}, g.grid...)...)
	ones := make([]int, len(g.grid)+2)
	for i := range ones {
		ones[i] = 1
	}
	ones[0] = experts
	weighed := g.binary("Mul", split, g.reshape(gate, ones...))
	mixed := g.scaled(g.mean(weighed, 0, false), float64(experts))
	return g.project(g.unary("Relu", mixed))
}

// temporalConv is y = x + P·relu(C₂·relu(C₁·x)) with causal convolutions of
// three taps at the given dilation: no position sees a later one. In a feature
// vector the order of the features is the time (Bai et al. 2018, "An empirical
// evaluation of generic convolutional and recurrent networks", TCN).
func temporalConv(g *graph) string {
	taps := window{size: 3, dilation: count(g.params["dilation"]), causal: true}
	x := g.reluConv(g.input, g.lifted(), taps)
	return g.project(g.reluConv(x, g.lifted(), taps))
}

// dilatedConv is a stack of three convolutions of three taps whose dilation
// grows from 1 through the middle to the given one, added to the input (Yu and
// Koltun 2016, "Multi-scale context aggregation by dilated convolutions").
func dilatedConv(g *graph) string {
	dilation := count(g.params["dilation"])
	x := g.reluConv(g.input, g.lifted(), window{size: 3})
	x = g.reluConv(x, g.lifted(), window{size: 3, dilation: ceilDiv(1+dilation, 2)})
	last := g.conv(x, g.features, window{size: 3, dilation: dilation, small: true})
	return g.binary("Add", g.input, last)
}

// poolingMax is the largest value among kernel neighbours along each axis, at
// every position; beyond the edge there is nothing (Ranzato et al. 2007,
// "Unsupervised learning of invariant feature hierarchies"; Scherer et al.
// 2010, "Evaluation of pooling operations").
func poolingMax(g *graph) string {
	w := window{size: count(g.params["kernel"]), dilation: 1}
	axes := len(g.grid)
	return g.unary("MaxPool", g.input,
		kernel.IntsAttr("kernel_shape", repeated(w.size, axes)...),
		kernel.IntsAttr("pads", w.pads(axes)...))
}
