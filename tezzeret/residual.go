package tezzeret

import "github.com/esper-lite/weatherlight/kernel"

// skipConnection is y = x + (x·W + b) with a small W (He et al. 2016,
// "Identity mappings in deep residual networks").
func skipConnection(g *graph) string {
	branch := g.linear(g.input, g.weights.small(g.features, g.features), 0)
	return g.binary("Add", g.input, branch)
}

// residualBlock is depth times x ← x + W₂·relu(W₁·x + b₁) + b₂, each with
// weights of its own and a small W₂ (He et al. 2016, "Deep residual learning
// for image recognition"; the small start from Zhang et al. 2019, "Fixup
// initialization").
func residualBlock(g *graph) string {
	x := g.input
	for range count(g.params["depth"]) {
		hidden := g.unary("Relu", g.linear(x, g.weights.he(g.features, g.features), 0))
		x = g.binary("Add", x, g.linear(hidden, g.weights.small(g.features, g.features), 0))
	}
	return x
}

// neuralODE integrates dx/dt = W₂·tanh(W₁·x + b₁) + b₂ from t = 0 to 1 by the
// explicit midpoint rule in the given number of steps, unrolled, all of them
// with the same weights (Chen et al. 2018, "Neural ordinary differential
// equations").
func neuralODE(g *graph) string {
	steps := count(g.params["steps"])
	first := g.shared(g.weights.glorot(g.features, g.features))
	last := g.shared(g.weights.small(g.features, g.features))
	slope := func(x string) string { return last(g.unary("Tanh", first(x))) }
	half, whole := g.scalar(0.5/float64(steps)), g.scalar(1/float64(steps))
	x := g.input
	for range steps {
		middle := g.binary("Add", x, g.binary("Mul", slope(x), half))
		x = g.binary("Add", x, g.binary("Mul", slope(middle), whole))
	}
	return x
}

// recursiveProcessing applies one block depth times: h ← h + W·tanh(U·h + V·x),
// with the input fed in at each depth and a small W (Liao and Poggio 2016,
// "Bridging the gaps between residual learning, recurrent neural networks and
// visual cortex"; Dehghani et al. 2019, "Universal transformers").
func recursiveProcessing(g *graph) string {
	state := g.shared(g.weights.glorot(g.features, g.features))
	injected := g.linear(g.input, g.weights.glorot(g.features, g.features), 0)
	last := g.shared(g.weights.small(g.features, g.features))
	h := g.input
	for range count(g.params["depth"]) {
		mixed := g.unary("Tanh", g.binary("Add", state(h), injected))
		h = g.binary("Add", h, last(mixed))
	}
	return h
}

// shared returns a linear layer that can be applied many times with the same
// weights.
func (g *graph) shared(w *kernel.Tensor) func(x string) string {
	out := w.Shape[1]
	weight, bias := g.trainable("weight", w), g.trainable("bias", g.weights.filled(0, out))
	return func(x string) string { return g.affine(x, weight, bias, out) }
}
