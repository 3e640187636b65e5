package kernel

import "slices"

// ReduceMean is the mean over axes, over all of them when none is given.
// keepDims leaves reduced dimensions in place with size 1.
func (t *Tape) ReduceMean(x Value, keepDims bool, axes ...int) (Value, error) {
	n, out, err := t.record("reducemean", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	reduced, ok := reducedAxes(len(src.Shape), axes)
	if !ok {
		return Value{}, shapeError("reducemean", "axes %v of %v", slices.Clone(axes), src.Shape)
	}
	var kept, dims [maxRank]int
	keep, shape := kept[:0], dims[:0]
	for i, d := range src.Shape {
		if reduced[i] {
			keep = append(keep, 1)
			if keepDims {
				shape = append(shape, 1)
			}
			continue
		}
		keep, shape = append(keep, d), append(shape, d)
	}
	n.allocate(shape...)
	n.ints, n.back = append(n.ints, keep...), backReduceMean
	n.mean()
	return out, nil
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

// mean sums into the output, a run of a reduced dimension in float64.
func (n *node) mean() {
	src := n.in[0].value
	clear(n.value.Data)
	w := broadcastWalk(src.Shape, src.Shape, n.ints)
	length, _, stride := w.inner()
	w.rows(func(o, _, at int) {
		addTo(n.value.Data[at:], src.Data[o:o+length], 1, stride)
	})
	factor := n.meanFactor()
	for i := range n.value.Data {
		n.value.Data[i] *= factor
	}
}

// meanFactor is one over the number of elements behind each mean.
func (n *node) meanFactor() float32 {
	return float32(len(n.value.Data)) / float32(max(len(n.in[0].value.Data), 1))
}

func backReduceMean(n *node) {
	src, factor := n.in[0], n.meanFactor()
	w := broadcastWalk(src.value.Shape, src.value.Shape, n.ints)
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
