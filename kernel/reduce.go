package kernel

import "slices"

// ReduceMean is the mean over axes, over all of them when none is given.
// keepDims leaves reduced dimensions in place with size 1.
func (t *Tape) ReduceMean(x Value, keepDims bool, axes ...int) (Value, error) {
	n, out, err := t.reduce("reducemean", x, keepDims, axes)
	if err != nil {
		return Value{}, err
	}
	n.sumUp(float32(len(n.value.Data)) / float32(max(len(n.in[0].value.Data), 1)))
	return out, nil
}

// ReduceSum is the sum over axes, over all of them when none is given.
// keepDims leaves reduced dimensions in place with size 1.
func (t *Tape) ReduceSum(x Value, keepDims bool, axes ...int) (Value, error) {
	n, out, err := t.reduce("reducesum", x, keepDims, axes)
	if err != nil {
		return Value{}, err
	}
	n.sumUp(1)
	return out, nil
}

// ReduceMax is the largest element over axes, over all of them when none is
// given; the gradient goes to the first of equal ones. keepDims leaves reduced
// dimensions in place with size 1.
func (t *Tape) ReduceMax(x Value, keepDims bool, axes ...int) (Value, error) {
	n, out, err := t.reduce("reducemax", x, keepDims, axes)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	if len(src.Data) == 0 {
		return Value{}, shapeError("reducemax", "nothing in %v", src.Shape)
	}
	w := n.reduction()
	n.back = backTaken
	n.ints = slices.Grow(n.ints[:0], len(n.value.Data))[:len(n.value.Data)]
	for i := range n.ints {
		n.ints[i] = -1
	}
	length, _, stride := w.inner()
	w.rows(func(o, _, at int) {
		for i := o; i < o+length; i++ {
			best := &n.ints[at+(i-o)*stride]
			if *best < 0 || src.Data[i] > src.Data[*best] || src.Data[i] != src.Data[i] {
				*best = i
			}
		}
	})
	for i, from := range n.ints {
		n.value.Data[i] = src.Data[from]
	}
	return out, nil
}

// reduce takes a node whose value has the reduced shape, and keeps that shape
// with the reduced dimensions at 1.
func (t *Tape) reduce(op string, x Value, keepDims bool, axes []int) (*node, Value, error) {
	n, out, err := t.record(op, x)
	if err != nil {
		return nil, Value{}, err
	}
	src := &n.in[0].value
	reduced, ok := reducedAxes(len(src.Shape), axes)
	if !ok {
		return nil, Value{}, shapeError(op, "axes %v of %v", slices.Clone(axes), src.Shape)
	}
	var dims [maxRank]int
	n.allocate(appendReduced(dims[:0], src.Shape, reduced, keepDims)...)
	n.ints = appendReduced(n.ints, src.Shape, reduced, true)
	return n, out, nil
}

// appendReduced appends a shape without the reduced dimensions, or with 1 for them.
func appendReduced(to, shape []int, reduced [maxRank]bool, keep bool) []int {
	for i, d := range shape {
		switch {
		case !reduced[i]:
			to = append(to, d)
		case keep:
			to = append(to, 1)
		}
	}
	return to
}

// reduction walks the operand with the result as the second of the walk.
func (n *node) reduction() walk {
	src := n.in[0].value.Shape
	return broadcastWalk(src, src, n.ints)
}

// reducedAxes marks the axes to reduce.
func reducedAxes(rank int, axes []int) (reduced [maxRank]bool, ok bool) {
	if rank > maxRank {
		return reduced, false
	}
	for i := range rank {
		reduced[i] = len(axes) == 0
	}
	for _, axis := range axes {
		axis, ok := resolveAxis(axis, rank)
		if !ok || reduced[axis] {
			return reduced, false
		}
		reduced[axis] = true
	}
	return reduced, true
}

// sumUp sums into the output, a run of a reduced dimension in float64, and
// multiplies the sums.
func (n *node) sumUp(factor float32) {
	src := n.in[0].value
	n.scalars[0], n.back = factor, backSum
	clear(n.value.Data)
	w := n.reduction()
	length, _, stride := w.inner()
	w.rows(func(o, _, at int) {
		addTo(n.value.Data[at:], src.Data[o:o+length], 1, stride)
	})
	for i := range n.value.Data {
		n.value.Data[i] *= factor
	}
}

func backSum(n *node) {
	src, factor := n.in[0], n.scalars[0]
	w := n.reduction()
	length, _, stride := w.inner()
	w.rows(func(o, _, at int) {
		for i := range length {
			src.grad.Data[o+i] += factor * n.grad.Data[at+i*stride]
		}
	})
}

// GlobalAveragePool is the mean over every dimension after the channels
// (dimension 1), kept with size 1.
func (t *Tape) GlobalAveragePool(x Value) (Value, error) {
	rank := len(x.Shape())
	if rank < 3 {
		return Value{}, shapeError("globalaveragepool", "%v has no space to pool", x.Shape())
	}
	var axes [maxRank]int
	list := axes[:0]
	for axis := 2; axis < rank && axis < maxRank; axis++ {
		list = append(list, axis)
	}
	return t.ReduceMean(x, true, list...)
}
