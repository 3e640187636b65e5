package tezzeret

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

// headWidth is the width of one of several heads over features of this width:
// an equal share, but never less than four.
func headWidth(features, heads int) int { return max(4, ceilDiv(features, heads)) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// heads projects [T, D] and splits the result into heads, [heads, T, width].
func (g *graph) heads(x string, heads, width int) string {
	in, steps := g.width(x), g.shape[x][0]
	projected := g.linear(x, g.weights.glorot(in, heads*width), 0)
	return g.permute(g.reshape(projected, steps, heads, width), 1, 0, 2)
}

// merge joins heads again, [heads, T, width] to [T, heads·width].
func (g *graph) merge(x string) string {
	shape := g.shape[x]
	return g.reshape(g.permute(x, 1, 0, 2), shape[1], shape[0]*shape[2])
}

// attend is softmax(q·kᵀ/√width + mask)·v in every head. An empty mask hides
// nothing.
func (g *graph) attend(q, k, v, mask string) string {
	scores := g.product(q, g.permute(k, 0, 2, 1))
	scores = g.scaled(scores, 1/math.Sqrt(float64(g.width(q))))
	if mask != "" {
		scores = g.binary("Add", scores, mask)
	}
	return g.product(g.softmax(scores), v)
}

// multiHead lets x attend to context, and returns a branch as wide as x that
// starts small (Vaswani et al. 2017, "Attention is all you need").
func (g *graph) multiHead(x, context string, heads int, mask string) string {
	width := headWidth(g.width(x), heads)
	q, k, v := g.heads(x, heads, width), g.heads(context, heads, width), g.heads(context, heads, width)
	return g.linear(g.merge(g.attend(q, k, v, mask)), g.weights.small(heads*width, g.width(x)), 0)
}

// multiHeadAttention is y = x + MHA(x, x, x) with the given number of heads
// (Vaswani et al. 2017, "Attention is all you need").
func multiHeadAttention(g *graph) string {
	return g.binary("Add", g.input, g.multiHead(g.input, g.input, count(g.params["heads"]), ""))
}

// attentionSingleHead is y = x + Attention(x, c, c), where the context c is x
// resampled to sequence_length positions by linear interpolation, plus one
// learned vector a position; its length alone sets the cost (Vaswani et al.
// 2017, "Attention is all you need"; keys and values of a fixed length from
// Wang et al. 2020, "Linformer").
func attentionSingleHead(g *graph) string {
	length := count(g.params["sequence_length"])
	resampled := g.product(g.matrix("resample", g.weights.interpolation(g.positions(), length)), g.input)
	place := g.trainable("position", g.weights.uniform(gentle, length, g.features))
	return g.binary("Add", g.input, g.multiHead(g.input, g.binary("Add", resampled, place), 1, ""))
}

// inducing is the number of learned queries of cross attention.
const inducing = 8

// crossAttention is y = x + MHA(x, h, h) with h = MHA(I, x, x): learned queries
// I gather from the positions, and the positions attend across to what was
// gathered (Lee et al. 2019, "Set transformer", induced attention; Jaegle et
// al. 2021, "Perceiver").
func crossAttention(g *graph) string {
	heads := count(g.params["heads"])
	width := headWidth(g.features, heads)
	queries := g.trainable("inducing", g.weights.uniform(1, heads, inducing, width))
	g.shape[queries] = []int{heads, inducing, width}
	gathered := g.merge(g.attend(queries, g.heads(g.input, heads, width), g.heads(g.input, heads, width), ""))
	context := g.linear(gathered, g.weights.glorot(heads*width, g.features), 0)
	return g.binary("Add", g.input, g.multiHead(g.input, context, heads, ""))
}

// normEpsilon is that of the norms within a block.
const normEpsilon = 1e-5

// encoderHeads is how many heads blueprints have that declare none.
const encoderHeads = 2

// transformerBlock is the given number of pre-norm encoder layers, each
// x += MHA(LN(x)) and x += W₂·gelu(W₁·LN(x)) with a hidden width of four times
// the features (Vaswani et al. 2017, "Attention is all you need"; the norm's
// place from Xiong et al. 2020, "On layer normalization in the transformer
// architecture").
func transformerBlock(g *graph) string {
	x := g.input
	for range count(g.params["layers"]) {
		normed := g.layerNorm(x, normEpsilon)
		x = g.binary("Add", x, g.multiHead(normed, normed, encoderHeads, ""))
		hidden := g.gelu(g.linear(g.layerNorm(x, normEpsilon), g.weights.glorot(g.features, 4*g.features), 0))
		x = g.binary("Add", x, g.linear(hidden, g.weights.small(4*g.features, g.features), 0))
	}
	return x
}

// convTransformer is x += W·silu(depthwise conv of the kernel's size) followed
// by x += MHA(LN(x)): what is near by convolution, what is far by attention
// (Gulati et al. 2020, "Conformer"; Wu et al. 2021, "CvT").
func convTransformer(g *graph) string {
	signal := g.channels(g.input)
	near := g.conv(signal, g.features, window{size: count(g.params["kernel"]), groups: g.features})
	x := g.binary("Add", g.input, g.linear(g.rows(g.silu(near)), g.weights.small(g.features, g.features), 0))
	normed := g.layerNorm(x, normEpsilon)
	return g.binary("Add", x, g.multiHead(normed, normed, encoderHeads, ""))
}

// channelAttention is y = x + W·Attention over channels: every channel attends
// to every other by the likeness of their values over all positions, in the
// given number of heads, each with channels of its own (Fu et al. 2019, "Dual
// attention network"; in heads by Zamir et al. 2022, "Restormer").
func channelAttention(g *graph) string {
	heads := count(g.params["heads"])
	width := headWidth(g.features, heads)
	// [heads, channels of the head, positions]
	channels := func() string { return g.permute(g.heads(g.input, heads, width), 0, 2, 1) }
	mixed := g.attend(channels(), channels(), channels(), "")
	merged := g.merge(g.permute(mixed, 0, 2, 1))
	return g.binary("Add", g.input, g.linear(merged, g.weights.small(heads*width, g.features), 0))
}

// spatialAttention is y = x⊙2σ(conv[mean, max]) with the mean and the largest
// value over the channels of each position, and a convolution that sees radius
// positions to each side; the gate is doubled, so that zero logits keep the
// input. With one channel both maps are the input itself (Woo et al. 2018,
// "CBAM: convolutional block attention module").
func spatialAttention(g *graph) string {
	rows := g.rows(g.input)
	largest := g.applyTo("MaxPool", []int{g.positions(), 1}, []string{rows},
		kernel.IntsAttr("kernel_shape", int64(g.features)))
	maps := g.joinAlong(0, g.mean(g.input, 0, true), g.channels(largest))
	side := 2*count(g.params["radius"]) + 1
	gate := g.unary("Sigmoid", g.conv(maps, 1, window{size: side, small: true}))
	return g.binary("Mul", g.input, g.scaled(gate, 2))
}
