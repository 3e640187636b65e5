package tezzeret

import "github.com/esper-lite/weatherlight/kernel"

// sampleTaps is the number of taps of a deformable convolution along each axis.
const sampleTaps = 3

// deformableConv is y = x + P·relu(W·s) where s are the values of relu(E·x) at
// three taps an axis around each position, each tap moved by an offset that a
// convolution of x predicts, with linear interpolation between positions and
// zero beyond the edge. The channels are in offset_groups groups with offsets
// of their own (Dai et al. 2017, "Deformable convolutional networks"; Zhu et
// al. 2019, "Deformable ConvNets v2").
func deformableConv(g *graph) string {
	groups := count(g.params["offset_groups"])
	channels := ceilDiv(g.lifted(), groups)
	x := g.reluConv(g.input, groups*channels, window{size: 1})
	// [groups, positions, channels], to be multiplied by where to look
	values := g.permute(g.reshape(x, groups, channels, g.positions()), 0, 2, 1)
	sampled := g.product(g.sampling(groups), values)

	taps := len(sampleOffsets(len(g.grid)))
	split := g.reshape(sampled, groups, taps, g.positions(), channels)
	joined := g.reshape(g.permute(split, 0, 3, 1, 2), append([]int{groups * channels * taps}, g.grid...)...)
	return g.project(g.reluConv(joined, g.lifted(), window{size: 1}))
}

// sampling is [groups, taps·positions, positions]: how much of every position
// each moved tap reads. Along one axis it is max(0, 1 - |tap - position|).
func (g *graph) sampling(groups int) string {
	offsets := sampleOffsets(len(g.grid))
	rows := len(offsets) * g.positions()
	weight := ""
	for axis, size := range g.grid {
		moved := g.conv(g.input, groups*len(offsets), window{size: 3, small: true})
		place := g.binary("Add", g.reshape(moved, groups, rows, 1), g.frozen("tap", g.tapPlaces(offsets, axis)))
		away := g.applyTo("Sub", []int{groups, rows, size}, []string{place, g.frozen("axis", g.weights.counting(size))})
		hat := g.unary("Relu", g.binary("Add", g.unary("Neg", g.unary("Abs", away)), g.scalar(1)))
		if weight == "" {
			weight = hat
			continue
		}
		before := g.width(weight)
		weight = g.applyTo("Mul", []int{groups, rows, before, size},
			[]string{g.reshape(weight, groups, rows, before, 1), g.reshape(hat, groups, rows, 1, size)})
		weight = g.reshape(weight, groups, rows, before*size)
	}
	return weight
}

// sampleOffsets are the taps of the window: -1, 0 and 1 along each axis.
func sampleOffsets(axes int) [][]int {
	offsets := [][]int{{}}
	for range axes {
		var longer [][]int
		for _, o := range offsets {
			for step := range sampleTaps {
				longer = append(longer, append(append([]int{}, o...), step-sampleTaps/2))
			}
		}
		offsets = longer
	}
	return offsets
}

// tapPlaces is the coordinate along one axis of every tap at every position,
// [taps·positions, 1].
func (g *graph) tapPlaces(offsets [][]int, axis int) *kernel.Tensor {
	n := g.positions()
	return g.weights.made(func(i int) float32 {
		// The way from the first position is the position's coordinates.
		return float32(wayBetween(g.grid, 0, i%n)[axis] + offsets[i/n][axis])
	}, len(offsets)*n, 1)
}

// counting is 0, 1, 2 and so on.
func (w *weights) counting(size int) *kernel.Tensor {
	return w.made(func(i int) float32 { return float32(i) }, size)
}
