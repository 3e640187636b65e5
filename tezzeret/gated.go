package tezzeret

import "math"

// highwayGate is y = T⊙relu(W·x + b) + (1-T)⊙x with T = σ(Wₜ·x + gate_bias);
// W starts near the identity, so that non-negative features pass either way
// (Srivastava et al. 2015, "Highway networks").
func highwayGate(g *graph) string {
	gate := g.unary("Sigmoid", g.linear(g.input, g.weights.small(g.features, g.features), g.params["gate_bias"]))
	change := g.unary("Relu", g.linear(g.input, g.weights.nearIdentity(1, g.features, g.features), 0))
	// T·h + (1-T)·x, written as x + T·(h - x) to use the gate once.
	return g.binary("Add", g.input, g.binary("Mul", gate, g.binary("Sub", change, g.input)))
}

// squeezeExcitation is y = x⊙2σ(W₂·relu(W₁·s + b₁) + b₂) with s the mean of x
// over all positions and a bottleneck of features/reduction. A feature vector
// has one position, so there is nothing to squeeze; the gate is doubled, so
// that zero logits keep the input (Hu et al. 2018, "Squeeze-and-excitation
// networks").
func squeezeExcitation(g *graph) string {
	summary := g.input
	if g.grid != nil {
		summary = g.mean(g.input, 0, true)
	}
	bottleneck := count(float64(g.features) / g.params["reduction"])
	// Biased a little, so that no bottleneck starts with all its units asleep.
	squeezed := g.unary("Relu", g.linear(summary, g.weights.glorot(g.features, bottleneck), 0.1))
	gate := g.unary("Sigmoid", g.linear(squeezed, g.weights.small(bottleneck, g.features), 0))
	return g.binary("Mul", g.input, g.binary("Mul", gate, g.scalar(2)))
}

// feedForwardGated is y = x + W₃·(silu(W₁·x)⊙(W₂·x)) with a hidden width of
// hidden_multiple times the features and a small W₃ (Shazeer 2020, "GLU
// variants improve transformer").
func feedForwardGated(g *graph) string {
	hidden := count(g.params["hidden_multiple"] * float64(g.features))
	gate := g.silu(g.linear(g.input, g.weights.glorot(g.features, hidden), 0))
	value := g.linear(g.input, g.weights.glorot(g.features, hidden), 0)
	branch := g.linear(g.binary("Mul", gate, value), g.weights.small(hidden, g.features), 0)
	return g.binary("Add", g.input, branch)
}

// memoryAugmented is y = x + softmax((x·W + b)·Kᵀ/√F)·V over memory_slots
// learned key and value rows, with small values (Miller et al. 2016,
// "Key-value memory networks for directly reading documents").
func memoryAugmented(g *graph) string {
	slots := count(g.params["memory_slots"])
	query := g.linear(g.input, g.weights.glorot(g.features, g.features), 0)
	keys := g.trainable("keys", g.weights.uniform(1, g.features, slots))
	values := g.trainable("values", g.weights.uniform(2*gentle, slots, g.features))
	scores := g.apply("MatMul", slots, []string{query, keys})
	address := g.softmax(g.binary("Mul", scores, g.scalar(1/math.Sqrt(float64(g.features)))))
	return g.binary("Add", g.input, g.apply("MatMul", g.features, []string{address, values}))
}
