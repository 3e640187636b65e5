package tezzeret

// outOfSight is added to the score of a pair that must not see each other: no
// softmax leaves anything of it.
const outOfSight = -1e9

// mask is the constant [positions, positions] that hides the pairs for which
// sees is false; it is given the way from the first to the second, an axis each.
func (g *graph) mask(sees func(way []int) bool) string {
	n := g.positions()
	return g.frozen("mask", g.weights.cells(n, n, func(from, to int) float32 {
		if sees(wayBetween(g.grid, from, to)) {
			return 0
		}
		return outOfSight
	}))
}

// wayBetween is how many steps along each axis lead from one position to another.
func wayBetween(grid []int, from, to int) []int {
	way := make([]int, len(grid))
	for i := len(grid) - 1; i >= 0; i-- {
		way[i] = to%grid[i] - from%grid[i]
		from, to = from/grid[i], to/grid[i]
	}
	return way
}

// graphAttention is y = x + U·Σⱼ aᵢⱼ·W·xⱼ with aᵢⱼ = softmax over the neighbours
// j of leakyrelu(s·W·xᵢ + t·W·xⱼ). The graph is that of the positions, each
// joined to the next one along each axis; neighbours are at most hops edges
// away (Veličković et al. 2018, "Graph attention networks").
func graphAttention(g *graph) string {
	hops := count(g.params["hops"])
	width := headWidth(g.features, 1)
	h := g.linear(g.input, g.weights.glorot(g.features, width), 0)
	own := g.product(h, g.learnedMatrix("source", width, 1))
	other := g.permute(g.product(h, g.learnedMatrix("target", width, 1)), 1, 0)
	scores := g.applyTo("Add", []int{g.positions(), g.positions()}, []string{own, other})
	// leakyrelu(e) = 0.6·e + 0.4·|e| with a slope of 0.2 below zero.
	leaky := g.binary("Add", g.scaled(scores, 0.6), g.scaled(g.unary("Abs", scores), 0.4))
	near := g.mask(func(way []int) bool { return distance(way) <= hops })
	gathered := g.product(g.softmax(g.binary("Add", leaky, near)), h)
	return g.binary("Add", g.input, g.linear(gathered, g.weights.small(width, g.features), 0))
}

// learnedMatrix adds a trainable matrix whose shape the graph knows.
func (g *graph) learnedMatrix(role string, in, out int) string {
	name := g.trainable(role, g.weights.glorot(in, out))
	g.shape[name] = []int{in, out}
	return name
}

// distance is the number of edges of a way along the axes.
func distance(way []int) int {
	steps := 0
	for _, d := range way {
		steps += max(d, -d)
	}
	return steps
}

// nonLocalBlock is the embedded Gaussian y = x + W·softmax(θ(x)·φ(x)ᵀ)·g(x),
// where each position sees the window of positions around it along each axis
// (Wang et al. 2018, "Non-local neural networks"; the window from Ramachandran
// et al. 2019, "Stand-alone self-attention in vision models").
func nonLocalBlock(g *graph) string {
	size := count(g.params["window"])
	first, last := -(size-1)/2, size/2
	around := g.mask(func(way []int) bool {
		for _, d := range way {
			if d < first || d > last {
				return false
			}
		}
		return true
	})
	return g.binary("Add", g.input, g.multiHead(g.input, g.input, 1, around))
}
