package tezzeret

import (
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// resample changes the number of positions of [C, grid...] along each axis,
// each by a constant matrix [old, new].
func (g *graph) resample(x string, matrices ...*kernel.Tensor) string {
	x = g.product(x, g.matrix("resample", matrices[len(matrices)-1]))
	if len(matrices) == 1 {
		return x
	}
	turned := g.product(g.permute(x, 0, 2, 1), g.matrix("resample", matrices[0]))
	return g.permute(turned, 0, 2, 1)
}

// matrix adds a constant matrix whose shape the graph knows.
func (g *graph) matrix(role string, t *kernel.Tensor) string {
	name := g.frozen(role, t)
	g.shape[name] = t.Shape
	return name
}

// averaging is the matrix [from, to] of adaptive average pooling: bin b of to
// is the mean of positions ⌊b·from/to⌋ to ⌈(b+1)·from/to⌉.
func (w *weights) averaging(from, to int) *kernel.Tensor {
	return w.cells(from, to, func(i, b int) float32 {
		first, end := b*from/to, ceilDiv((b+1)*from, to)
		if i < first || i >= end {
			return 0
		}
		return rounded(1 / float64(end-first))
	})
}

// interpolation is the matrix [to, from] of linear interpolation between the
// middles of from equal stretches.
func (w *weights) interpolation(from, to int) *kernel.Tensor {
	return w.cells(to, from, func(i, place int) float32 {
		// The middle of stretch i, in stretches of from, as a fraction of 2·to.
		numerator := min(max((2*i+1)*from-to, 0), 2*to*(from-1))
		left, share := numerator/(2*to), rounded(float64(numerator%(2*to))/float64(2*to))
		switch place {
		case left:
			return 1 - share
		case left + 1:
			return share
		}
		return 0
	})
}

// transposed swaps the dimensions of a matrix, in whose place the result stands.
func (w *weights) transposed(t *kernel.Tensor) *kernel.Tensor {
	rows, columns := t.Shape[0], t.Shape[1]
	if t.Data == nil {
		return w.tensor(columns, rows)
	}
	w.left += int64(rows) * int64(columns)
	return w.cells(columns, rows, func(c, r int) float32 { return t.Data[r*columns+c] })
}

// eachAxis returns one matrix an axis of a grid.
func eachAxis(grid []int, matrix func(size int) *kernel.Tensor) []*kernel.Tensor {
	matrices := make([]*kernel.Tensor, len(grid))
	for i, size := range grid {
		matrices[i] = matrix(size)
	}
	return matrices
}

// adaptivePooling is y = x + U·W₂·relu(W₁·A·x): each channel is averaged into
// output_size bins along each axis, a small network mixes the bins, and the
// result is interpolated back to all positions (He et al. 2015, "Spatial
// pyramid pooling"; Zhao et al. 2017, "Pyramid scene parsing network").
func adaptivePooling(g *graph) string {
	size := count(g.params["output_size"])
	pooled := g.resample(g.input, eachAxis(g.grid, func(from int) *kernel.Tensor { return g.weights.averaging(from, size) })...)
	bins := volume(g.shape[pooled][1:])
	flat := g.reshape(pooled, g.features, bins)
	hidden := g.unary("Relu", g.linear(flat, g.weights.he(bins, bins), 0))
	mixed := g.linear(hidden, g.weights.small(bins, bins), 0)
	spread := g.resample(g.reshape(mixed, g.shape[pooled]...),
		eachAxis(g.grid, func(to int) *kernel.Tensor {
			return g.weights.transposed(g.weights.interpolation(size, to))
		})...)
	return g.binary("Add", g.input, spread)
}

// featurePyramid builds the given number of levels, each half as long as the
// one before, and brings them back: every level is seen through a 1×1
// convolution and added to the coarser one interpolated; a last convolution of
// the finest joins the input (Lin et al. 2017, "Feature pyramid networks").
func featurePyramid(g *graph) string {
	levels := []string{g.reluConv(g.input, g.lifted(), window{size: 3})}
	grids := [][]int{g.grid}
	for range count(g.params["levels"]) - 1 {
		half := g.resample(levels[len(levels)-1], eachAxis(grids[len(grids)-1], func(size int) *kernel.Tensor {
			return g.weights.averaging(size, ceilDiv(size, 2))
		})...)
		grids = append(grids, g.shape[half][1:])
		levels = append(levels, g.reluConv(half, g.lifted(), window{size: 3}))
	}
	merged := ""
	for i, level := range slices.Backward(levels) {
		lateral := g.conv(level, g.lifted(), window{size: 1})
		if merged != "" {
			lateral = g.binary("Add", lateral, g.resample(merged, g.weights.finer(grids[i+1], grids[i])...))
		}
		merged = lateral
	}
	return g.binary("Add", g.input, g.conv(merged, g.features, window{size: 3, small: true}))
}

// finer interpolates from one grid to another.
func (w *weights) finer(from, to []int) []*kernel.Tensor {
	matrices := make([]*kernel.Tensor, len(from))
	for i := range from {
		matrices[i] = w.transposed(w.interpolation(from[i], to[i]))
	}
	return matrices
}

// hierarchicalAttention is y = x + MHA(x, c, c) with a context c of the given
// number of levels: the positions themselves, their averages by twos, by fours
// and so on, each marked by a learned vector of its level, all in one softmax
// (Yang et al. 2021, "Focal self-attention"; Zhu and Soricut 2021,
// "H-Transformer-1D").
func hierarchicalAttention(g *graph) string {
	levels := count(g.params["levels"])
	summary, marks := g.hierarchy(levels)
	context := g.product(g.matrix("summary", summary), g.input)
	level := g.trainable("level", g.weights.uniform(gentle, levels, g.features))
	g.shape[level] = []int{levels, g.features}
	marked := g.binary("Add", context, g.product(g.matrix("mark", marks), level))
	return g.binary("Add", g.input, g.multiHead(g.input, marked, encoderHeads, ""))
}

// hierarchy is the matrix that averages positions into all levels, and the one
// that says which level each row of it belongs to.
func (g *graph) hierarchy(levels int) (summary, marks *kernel.Tensor) {
	positions := g.positions()
	var rows, ids []float32
	for level := range levels {
		for _, block := range blocks(g.grid, 1<<level) {
			row, mark := make([]float32, positions), make([]float32, levels)
			for _, p := range block {
				row[p] = rounded(1 / float64(len(block)))
			}
			mark[level] = 1
			rows, ids = append(rows, row...), append(ids, mark...)
		}
	}
	n := len(ids) / levels
	return kernel.FromSlice(rows, n, positions), kernel.FromSlice(ids, n, levels)
}

// blocks cuts a grid into squares of the given side, and lists the positions
// of each in row-major order.
func blocks(grid []int, side int) [][]int {
	columns := grid[len(grid)-1]
	across := ceilDiv(columns, side)
	list := make([][]int, across*ceilDiv(volume(grid)/columns, side))
	for p := range volume(grid) {
		at := p/columns/side*across + p%columns/side
		list[at] = append(list[at], p)
	}
	return list
}
