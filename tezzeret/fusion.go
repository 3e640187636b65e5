package tezzeret

import "github.com/esper-lite/weatherlight/kernel"

// concatFusion is y = x + P·[b₁, b₂, ...] over the given number of branches
// bᵢ = fᵢ(Wᵢ·x + cᵢ), whose activations are ReLU, tanh, SiLU and GELU in this
// order, with a small P (Szegedy et al. 2017, "Inception-v4, Inception-ResNet
// and the impact of residual connections on learning").
func concatFusion(g *graph) string {
	activations := []func(x string) string{
		func(x string) string { return g.unary("Relu", x) },
		func(x string) string { return g.unary("Tanh", x) },
		g.silu,
		g.gelu,
	}
	var branches []string
	for i := range count(g.params["branches"]) {
		activate := activations[i%len(activations)]
		branches = append(branches, activate(g.linear(g.input, g.weights.glorot(g.features, g.features), 0)))
	}
	joined := g.concat(branches...)
	return g.binary("Add", g.input, g.linear(joined, g.weights.small(g.width(joined), g.features), 0))
}

// denseConnection adds growth_rate features twice, each time computed from all
// that came before, and projects [x, h₁, h₂] back to the slot; the projection
// starts by passing x (Huang et al. 2017, "Densely connected convolutional
// networks").
func denseConnection(g *graph) string {
	growth, joined := count(g.params["growth_rate"]), g.input
	for range 2 {
		grown := g.unary("Relu", g.linear(joined, g.weights.he(g.width(joined), growth), 0))
		joined = g.concat(joined, grown)
	}
	return g.linear(joined, g.weights.nearIdentity(1, g.width(joined), g.features), 0)
}

// mixtureOfExperts is y = x + Σₑ gₑ·Wₑ·relu(Vₑ·x) with g = softmax(G·x): every
// expert runs and the gate weighs them, so nothing is dropped and capacity is
// each expert's width as a multiple of the features; Wₑ is small (Jacobs et
// al. 1991, "Adaptive mixtures of local experts"; Shazeer et al. 2017,
// "Outrageously large neural networks").
func mixtureOfExperts(g *graph) string {
	experts, width := count(g.params["experts"]), count(g.params["capacity"]*float64(g.features))
	gate := g.softmax(g.linear(g.input, g.weights.glorot(g.features, experts), 0))
	// One wide layer holds all experts side by side; the gate of an expert is
	// spread over its columns by a constant matrix.
	hidden := g.unary("Relu", g.linear(g.input, g.weights.he(g.features, experts*width), 0))
	spread := g.apply("MatMul", experts*width, []string{gate, g.frozen("spread", g.weights.blockRows(experts, width))})
	branch := g.linear(g.binary("Mul", hidden, spread), g.weights.small(experts*width, g.features), 0)
	return g.binary("Add", g.input, branch)
}

// blockRows is a [rows, rows·width] matrix with ones in each row's own block.
func (w *weights) blockRows(rows, width int) *kernel.Tensor {
	return w.cells(rows, rows*width, func(row, column int) float32 { return float32(flag(column/width == row)) })
}

// differentiableNAS is y = x + Σₖ softmax(a/temperature)ₖ·oₖ(x) over the
// candidates linear, ReLU, tanh and GELU layers, with a learned weight a each
// (Liu et al. 2019, "DARTS: differentiable architecture search").
func differentiableNAS(g *graph) string {
	candidates := []func(x string) string{
		func(x string) string { return x },
		func(x string) string { return g.unary("Relu", x) },
		func(x string) string { return g.unary("Tanh", x) },
		g.gelu,
	}
	n := len(candidates)
	preferences := g.trainable("preference", g.weights.tensor(1, n))
	g.shape[preferences] = []int{n}
	shares := g.softmax(g.binary("Div", preferences, g.scalar(g.params["temperature"])))
	sum := g.input
	for k, activate := range candidates {
		output := activate(g.linear(g.input, g.weights.uniform(gentle, g.features, g.features), 0))
		share := g.apply("MatMul", 1, []string{shares, g.frozen("pick", g.weights.unitColumn(k, n))})
		sum = g.binary("Add", sum, g.binary("Mul", output, share))
	}
	return sum
}

// unitColumn is an [n, 1] matrix with a one in row k.
func (w *weights) unitColumn(k, n int) *kernel.Tensor {
	return w.made(func(i int) float32 { return float32(flag(i == k)) }, n, 1)
}

// metaLearning fits a context c to each row by adapt_steps of gradient descent
// on |x - c·D|², with a learned step size a feature, and gives y = x + c·W:
// the loop adapts, everything else is learned across rows (Zintgraf et al.
// 2019, "Fast context adaptation via meta-learning"; Li et al. 2017,
// "Meta-SGD").
func metaLearning(g *graph) string {
	context := max(1, g.features/4)
	decoder := g.trainable("decoder", g.weights.glorot(context, g.features))
	rate := g.trainable("rate", g.weights.filled(0.1, context))
	// The first step starts from c = 0, where the residual is x itself.
	c := g.binary("Mul", g.encode(g.input, decoder, context), rate)
	for range count(g.params["adapt_steps"]) - 1 {
		residual := g.binary("Sub", g.input, g.apply("MatMul", g.features, []string{c, decoder}))
		gradient := g.encode(residual, decoder, context)
		c = g.binary("Add", c, g.binary("Mul", gradient, rate))
	}
	return g.binary("Add", g.input, g.linear(c, g.weights.small(context, g.features), 0))
}

// encode is x·Dᵀ, which is context wide.
func (g *graph) encode(x, decoder string, context int) string {
	if len(g.shape[x]) == 1 {
		return g.apply("Gemm", context, []string{x, decoder}, kernel.IntAttr("transB", 1))
	}
	turned := g.applyTo("Transpose", []int{context}, []string{decoder}, kernel.IntsAttr("perm", 1, 0))
	return g.apply("MatMul", context, []string{x, turned})
}
