package kernel

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// Conv slides the filters w, [M, C/groups, kernel...], over x, [N, C, space...],
// with one or two dimensions of space, and adds bias, [M] or the zero Value for
// none (cross-correlation, LeCun et al. 1998). The result is [N, M, space'...].
func (t *Tape) Conv(x, w, bias Value, window Window) (Value, error) {
	n, out, err := t.recordOptional("conv", bias, x, w)
	if err != nil {
		return Value{}, err
	}
	images, filters := n.in[0].value.Shape, n.in[1].value.Shape
	var dims [maxRank]int
	shape, geometry, ok := convShape(&dims, images, filters, window)
	if !ok {
		return Value{}, shapeError("conv", "%v by %v with %+v", images, filters, window.clone())
	}
	if len(n.in) > 2 && (len(n.in[2].value.Shape) != 1 || n.in[2].value.Shape[0] != filters[0]) {
		return Value{}, shapeError("conv", "bias %v for %d channels", n.in[2].value.Shape, filters[0])
	}
	n.allocate(shape...)
	n.geometry, n.groups, n.back = geometry, window.groups(), backConv
	c := newConvolution(n)
	n.saved = resize(n.saved, c.lanes()*c.columns())
	c.eachSample(func(lane, sample int) { c.forward(n, sample, n.saved[lane*c.columns():][:c.columns()]) })
	return out, nil
}

// convShape writes the shape of the result into into.
func convShape(into *[maxRank]int, x, w []int, window Window) ([]int, geometry, bool) {
	groups := window.groups()
	if len(x) < 3 || len(x) != len(w) || window.Groups < 0 || x[1] < 1 || w[0] < 1 {
		return nil, geometry{}, false
	}
	if x[1]%groups != 0 || w[0]%groups != 0 || w[1] != x[1]/groups {
		return nil, geometry{}, false
	}
	g, ok := window.geometry(x[2:], w[2:])
	if !ok {
		return nil, g, false
	}
	return g.shape(into, x[0], w[0], len(x)), g, true
}

// shape writes [samples, channels, space...] of the given rank into into.
func (g geometry) shape(into *[maxRank]int, samples, channels, rank int) []int {
	into[0], into[1], into[2] = samples, channels, g.rows.out
	into[rank-1] = g.cols.out
	return into[:rank]
}

// convolution is one Conv as matrix products: in every sample and group, the
// filters, out x depth, by the columns, depth x positions.
type convolution struct {
	geometry geometry
	samples  int
	groups   int
	in, out  int // channels of a group
	plane    int // elements of one channel of x
	depth    int
	position int // positions of the window
	direct   bool
}

func newConvolution(n *node) convolution {
	x, w, g := n.in[0].value.Shape, n.in[1].value.Shape, n.geometry
	c := convolution{geometry: g, samples: x[0], groups: n.groups, in: w[1], out: w[0] / n.groups,
		plane: g.rows.in * g.cols.in, depth: w[1] * g.taps(), position: g.positions()}
	// A window of one element that visits every element once: x is its own columns.
	c.direct = g.rows.plain() && g.cols.plain()
	return c
}

// columns is the scratch of one lane.
func (c *convolution) columns() int {
	if c.direct {
		return 0
	}
	return c.depth * c.position
}

func (c *convolution) lanes() int { return min(lanes, c.samples) }

func (c *convolution) eachSample(visit func(lane, sample int)) {
	work := saturated(int64(c.samples), int64(c.groups*c.out), int64(c.depth), int64(c.position))
	eachPart(c.samples, work, func(part, from, to int) {
		for sample := from; sample < to; sample++ {
			visit(part, sample)
		}
	})
}

// image is the offset of a group's channels in x, result in the result.
func (c *convolution) image(sample, group int) int {
	return (sample*c.groups + group) * c.in * c.plane
}

func (c *convolution) result(sample, group int) int {
	return (sample*c.groups + group) * c.out * c.position
}

func (c *convolution) filters(data []float32, group int) blas32.General {
	return matrix(data[group*c.out*c.depth:], c.out, c.depth)
}

// gather is the columns of one sample and group, in scratch unless x has them.
func (c *convolution) gather(x, scratch []float32) blas32.General {
	if c.direct {
		return matrix(x, c.depth, c.position)
	}
	c.geometry.unfold(scratch, x, c.in)
	return matrix(scratch, c.depth, c.position)
}

func (c *convolution) forward(n *node, sample int, scratch []float32) {
	for group := range c.groups {
		y := matrix(n.value.Data[c.result(sample, group):], c.out, c.position)
		for i := range c.out {
			line, start := y.Data[i*c.position:][:c.position], float32(0)
			if len(n.in) > 2 {
				start = n.in[2].value.Data[group*c.out+i]
			}
			for j := range line {
				line[j] = start
			}
		}
		columns := c.gather(n.in[0].value.Data[c.image(sample, group):], scratch)
		striped(blas.NoTrans, blas.NoTrans, c.filters(n.in[1].value.Data, group), columns, 1, y)
	}
}

func backConv(n *node) {
	c, x, w := newConvolution(n), n.in[0], n.in[1]
	sums := c.lanes() * c.columns() // where the lanes' gradients of the weights begin
	weights := len(w.value.Data)
	if w.hasGrad {
		n.saved = resize(n.saved, sums+c.lanes()*weights)
		clear(n.saved[sums:])
	}
	c.eachSample(func(lane, sample int) {
		scratch := n.saved[lane*c.columns():][:c.columns()]
		if w.hasGrad {
			c.backWeights(n, sample, scratch, n.saved[sums+lane*weights:][:weights])
		}
		if x.hasGrad {
			c.backImage(n, sample, scratch)
		}
	})
	if w.hasGrad {
		for lane := range c.lanes() {
			addTo(w.grad.Data, n.saved[sums+lane*weights:][:weights], 1, 1)
		}
	}
	c.backBias(n)
}

// backWeights adds a sample's share to the lane's own gradient of the weights.
func (c *convolution) backWeights(n *node, sample int, scratch, grad []float32) {
	for group := range c.groups {
		columns := c.gather(n.in[0].value.Data[c.image(sample, group):], scratch)
		dy := matrix(n.grad.Data[c.result(sample, group):], c.out, c.position)
		striped(blas.NoTrans, blas.Trans, dy, columns, 1, c.filters(grad, group))
	}
}

func (c *convolution) backImage(n *node, sample int, scratch []float32) {
	for group := range c.groups {
		dx := n.in[0].grad.Data[c.image(sample, group):][:c.in*c.plane]
		dy := matrix(n.grad.Data[c.result(sample, group):], c.out, c.position)
		filters := c.filters(n.in[1].value.Data, group)
		if c.direct {
			striped(blas.Trans, blas.NoTrans, filters, dy, 1, matrix(dx, c.depth, c.position))
			continue
		}
		striped(blas.Trans, blas.NoTrans, filters, dy, 0, matrix(scratch, c.depth, c.position))
		c.geometry.fold(dx, scratch, c.in)
	}
}

func (c *convolution) backBias(n *node) {
	if len(n.in) < 3 || !n.in[2].hasGrad {
		return
	}
	channels := c.groups * c.out
	for run := range c.samples * channels {
		n.in[2].grad.Data[run%channels] += sum(n.grad.Data[run*c.position:][:c.position])
	}
}
