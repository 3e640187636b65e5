package kernel

import "slices"

// MaxPool is the largest element under a window that moves over the dimensions
// after the channels; padding counts for nothing. A NaN under the window is the
// result.
func (t *Tape) MaxPool(x Value, window Window) (Value, error) {
	n, out, err := t.pool("maxpool", x, window)
	if err != nil {
		return Value{}, err
	}
	n.back = backTaken
	n.ints = slices.Grow(n.ints, len(n.value.Data))[:len(n.value.Data)]
	src := n.in[0].value.Data
	n.eachBox(func(at, plane int, b box) {
		best := plane + b.top*b.width + b.left
		for r := b.top; r < b.bottom; r++ {
			for i := plane + r*b.width + b.left; i < plane+r*b.width+b.right; i++ {
				if src[i] > src[best] || src[i] != src[i] {
					best = i
				}
			}
		}
		n.value.Data[at], n.ints[at] = src[best], best
	})
	return out, nil
}

// backTaken gives the gradient to the one element that each result was taken
// from.
func backTaken(n *node) {
	dx := n.in[0].grad.Data
	for i, from := range n.ints {
		dx[from] += n.grad.Data[i]
	}
}

// AveragePool is the mean under a window that moves over the dimensions after
// the channels; padding counts as zeros when countPadding is set, else not at
// all.
func (t *Tape) AveragePool(x Value, window Window, countPadding bool) (Value, error) {
	n, out, err := t.pool("averagepool", x, window)
	if err != nil {
		return Value{}, err
	}
	n.ints, n.back = append(n.ints, flag(countPadding)), backAveragePool
	src := n.in[0].value.Data
	n.eachBox(func(at, plane int, b box) {
		total := 0.0
		for r := b.top; r < b.bottom; r++ {
			for _, v := range src[plane+r*b.width+b.left : plane+r*b.width+b.right] {
				total += float64(v)
			}
		}
		n.value.Data[at] = float32(total / float64(n.divisor(b)))
	})
	return out, nil
}

// divisor is the number of elements that a mean is over.
func (n *node) divisor(b box) int {
	if n.ints[0] == 1 {
		return n.geometry.taps()
	}
	return (b.bottom - b.top) * (b.right - b.left)
}

func backAveragePool(n *node) {
	dx := n.in[0].grad.Data
	n.eachBox(func(at, plane int, b box) {
		g := n.grad.Data[at] / float32(n.divisor(b))
		for r := b.top; r < b.bottom; r++ {
			line := dx[plane+r*b.width+b.left : plane+r*b.width+b.right]
			for i := range line {
				line[i] += g
			}
		}
	})
}

func (t *Tape) pool(op string, x Value, window Window) (*node, Value, error) {
	n, out, err := t.record(op, x)
	if err != nil {
		return nil, Value{}, err
	}
	src := n.in[0].value.Shape
	var dims [maxRank]int
	shape, g, ok := poolShape(&dims, src, window)
	if !ok {
		return nil, Value{}, shapeError(op, "%v with %+v", src, window.clone())
	}
	n.allocate(shape...)
	n.geometry = g
	return n, out, nil
}

// poolShape writes the shape of the result into into. Padding is less than the
// window, so that every position covers an element.
func poolShape(into *[maxRank]int, x []int, window Window) ([]int, geometry, bool) {
	if len(x) < 3 || window.Dilations != nil || window.Groups != 0 {
		return nil, geometry{}, false
	}
	g, ok := window.geometry(x[2:], window.Kernel)
	if !ok {
		return nil, g, false
	}
	for i, pad := range window.Pads {
		if pad >= window.Kernel[i%len(window.Kernel)] {
			return nil, g, false
		}
	}
	return g.shape(into, x[0], x[1], len(x)), g, true
}

// box is the part of a plane that a window covers, padding cut off.
type box struct{ top, bottom, left, right, width int }

// eachBox visits every element of the result with the offset of its plane in
// the operand and what the window covers there.
func (n *node) eachBox(visit func(at, plane int, b box)) {
	g, shape := n.geometry, n.value.Shape
	at := 0
	for plane := range shape[0] * shape[1] {
		for r := range g.rows.out {
			top, bottom := g.rows.cover(r)
			for c := range g.cols.out {
				left, right := g.cols.cover(c)
				visit(at, plane*g.rows.in*g.cols.in, box{top, bottom, left, right, g.cols.in})
				at++
			}
		}
	}
}

// cover is the range of elements under the undilated window at a position.
func (e extent) cover(position int) (from, to int) {
	from = position*e.stride - e.pad
	return max(from, 0), min(from+e.kernel, e.in)
}
