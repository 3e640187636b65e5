package tezzeret

import (
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// view is how an architecture looks at a slot, whatever the slot's form. The
// views are fixed rearrangements: they lose and learn nothing.
type view int

const (
	// asIs is the slot's own shape.
	asIs view = iota

	// inRows is the features in the last dimension: [F], [T, D], [H·W, C].
	inRows

	// inTokens is a sequence: [T, D], [H·W, C], and a feature vector cut into T
	// groups of neighbours, [T, F/T].
	inTokens

	// inPositions is a sequence, too, but a feature vector has one position a
	// feature, [F, 1].
	inPositions

	// inChannels is what a convolution reads: [D, T], [C, H, W], and a feature
	// vector as a signal of one channel, [1, F].
	inChannels
)

// enter makes g.input the slot's values in the view, and sets the grid of
// positions and the width of one position.
func (g *graph) enter(v view) {
	g.grid, g.features = nil, g.slot.Features
	switch g.slot.Kind() {
	case KindSequence:
		g.grid, g.features = []int{g.slot.Sequence}, g.slot.Width
		if v == inChannels {
			g.input = g.channels(g.input)
		}
	case KindImage:
		g.grid, g.features = []int{g.slot.Height, g.slot.Width}, g.slot.Channels
		if v != asIs && v != inChannels {
			g.input = g.rows(g.input)
		}
	default:
		g.enterFeatures(v)
	}
}

func (g *graph) enterFeatures(v view) {
	f := g.slot.Features
	switch v {
	case inTokens:
		tokens := tokenCount(f)
		g.grid, g.features = []int{tokens}, f/tokens
		g.input = g.reshape(g.input, tokens, f/tokens)
	case inPositions:
		g.grid, g.features = []int{f}, 1
		g.input = g.reshape(g.input, f, 1)
	case inChannels:
		g.grid, g.features = []int{f}, 1
		g.input = g.reshape(g.input, 1, f)
	default: // a feature vector is its own row
	}
}

// leave brings a result in the view back to the slot's shape.
func (g *graph) leave(v view, x string) string {
	shape := g.slot.Shape()
	switch {
	case slices.Equal(g.shape[x], shape):
		return x
	case g.slot.Kind() == KindSequence:
		return g.rows(x)
	case g.slot.Kind() == KindImage && v != inChannels:
		return g.channels(x)
	default:
		return g.reshape(x, shape...)
	}
}

// rows turns [C, grid...] into [positions, C].
func (g *graph) rows(x string) string {
	if len(g.grid) > 1 {
		x = g.reshape(x, g.shape[x][0], g.positions())
	}
	return g.permute(x, 1, 0)
}

// channels turns [positions, C] into [C, grid...].
func (g *graph) channels(x string) string {
	x = g.permute(x, 1, 0)
	if len(g.grid) > 1 {
		x = g.reshape(x, append([]int{g.shape[x][0]}, g.grid...)...)
	}
	return x
}

// positions is the number of positions of the grid.
func (g *graph) positions() int { return volume(g.grid) }

func volume(sizes []int) int {
	product := 1
	for _, size := range sizes {
		product *= size
	}
	return product
}

// tokenCount is the number of groups a vector of f features is cut into: the
// smallest divisor of f not below its square root.
func tokenCount(f int) int {
	for t := max(1, int(math.Sqrt(float64(f)))); t < f; t++ {
		if f%t == 0 && t*t >= f {
			return t
		}
	}
	return f
}

// reshape gives one example of x the given shape.
func (g *graph) reshape(x string, shape ...int) string {
	target := make([]int64, len(shape)+1) // zero keeps the batch
	for i, size := range shape {
		target[i+1] = int64(size)
	}
	return g.applyTo("Reshape", slices.Clone(shape), []string{x, g.indices("shape", target)})
}

// permute reorders the dimensions of one example: result dimension i is
// dimension order[i] of x.
func (g *graph) permute(x string, order ...int) string {
	shape, perm := make([]int, len(order)), make([]int64, len(order)+1)
	for i, from := range order {
		shape[i] = g.shape[x][from]
		perm[i+1] = int64(from) + 1
	}
	return g.applyTo("Transpose", shape, []string{x}, kernel.IntsAttr("perm", perm...))
}
