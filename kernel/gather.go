package kernel

import "slices"

// Gather takes the slices of x along axis that indices name, in the shape of
// the indices: the result is x's shape with that axis replaced by shape.
// Negative indices count from the end. No shape makes indices a scalar.
func (t *Tape) Gather(x Value, axis int, indices []int, shape ...int) (Value, error) {
	n, out, err := t.record("gather", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	axis, ok := resolveAxis(axis, len(src.Shape))
	if !ok || len(src.Shape)-1+len(shape) > maxRank || len(indices) != sizeOf(shape) {
		return Value{}, shapeError("gather", "%d indices of %v along axis %d of %v",
			len(indices), slices.Clone(shape), axis, src.Shape)
	}
	n.ints = append(n.ints, axis)
	for _, index := range indices {
		at, ok := resolveIndex(index, src.Shape[axis])
		if !ok {
			return Value{}, shapeError("gather", "index %d of %d", index, src.Shape[axis])
		}
		n.ints = append(n.ints, at)
	}
	var dims [maxRank]int
	n.allocate(gatherShape(&dims, src.Shape, axis, shape)...)
	n.back = backGather
	n.eachTaken(func(o, at, length int) { copy(n.value.Data[o:o+length], src.Data[at:]) })
	return out, nil
}

func gatherShape(into *[maxRank]int, x []int, axis int, indices []int) []int {
	rank := copy(into[:], x[:axis])
	rank += copy(into[rank:], indices)
	rank += copy(into[rank:], x[axis+1:])
	return into[:rank]
}

// resolveIndex is a position within length, a negative one from the end.
func resolveIndex(index, length int) (int, bool) {
	if index < 0 {
		index += length
	}
	return index, index >= 0 && index < length
}

// eachTaken visits the runs of elements that the result shares with x.
func (n *node) eachTaken(visit func(o, at, length int)) {
	axis, indices, shape := n.ints[0], n.ints[1:], n.in[0].value.Shape
	length := sizeOf(shape[axis+1:])
	o := 0
	for outer := range sizeOf(shape[:axis]) {
		for _, index := range indices {
			visit(o, (outer*shape[axis]+index)*length, length)
			o += length
		}
	}
}

// backGather adds up where an index is there more than once.
func backGather(n *node) {
	n.eachTaken(func(o, at, length int) {
		addTo(n.in[0].grad.Data[at:], n.grad.Data[o:o+length], 1, 1)
	})
}

// Expand broadcasts x to a shape, of which a dimension of 1 keeps x's own.
func (t *Tape) Expand(x Value, shape ...int) (Value, error) {
	n, out, err := t.record("expand", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	var dims [maxRank]int
	whole, ok := broadcastShape(&dims, src.Shape, shape)
	if !ok || len(shape) > 0 && slices.Min(shape) < 1 {
		return Value{}, shapeError("expand", "%v to %v", src.Shape, slices.Clone(shape))
	}
	n.allocate(whole...)
	n.back = backExpand
	w := broadcastWalk(whole, src.Shape, src.Shape)
	w.copy(n.value.Data, src.Data)
	return out, nil
}

func backExpand(n *node) {
	src := n.in[0]
	w := broadcastWalk(n.value.Shape, src.value.Shape, src.value.Shape)
	w.add(src.grad.Data, n.grad.Data)
}

// Pad surrounds x with a constant: pads holds how many elements come before
// every dimension, then how many after.
func (t *Tape) Pad(x Value, value float32, pads ...int) (Value, error) {
	n, out, err := t.record("pad", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	var dims [maxRank]int
	shape, ok := padShape(&dims, src.Shape, pads)
	if !ok {
		return Value{}, shapeError("pad", "%v by %v", src.Shape, slices.Clone(pads))
	}
	n.allocate(shape...)
	n.ints, n.back = append(n.ints, pads...), backPad
	for i := range n.value.Data {
		n.value.Data[i] = value
	}
	n.eachKept(func(at, o, length, stride int) {
		for i := range length {
			n.value.Data[o+i*stride] = src.Data[at+i]
		}
	})
	return out, nil
}

// padShape writes the shape of the result into into. A batch stays as it is.
func padShape(into *[maxRank]int, x, pads []int) ([]int, bool) {
	rank := len(x)
	if rank > maxRank || len(pads) != 2*rank || rank > 0 && (slices.Min(pads) < 0 || slices.Max(pads) > maxDim) {
		return nil, false
	}
	for i, d := range x {
		added := pads[i] + pads[rank+i]
		if d == batch && added != 0 {
			return nil, false
		}
		into[i] = d + added
	}
	return into[:rank], true
}

// eachKept visits the lines of x and where they are in the result.
func (n *node) eachKept(visit func(at, o, length, stride int)) {
	src, whole := n.in[0].value.Shape, n.value.Shape
	var w walk
	corner := 0
	for i, d := range src {
		step := sizeOf(whole[i+1:])
		corner += n.ints[i] * step
		w.push(d, step, 0)
	}
	length, stride, _ := w.inner()
	w.rows(func(at, o, _ int) { visit(at, corner+o, length, stride) })
}

func backPad(n *node) {
	dx := n.in[0].grad.Data
	n.eachKept(func(at, o, length, stride int) {
		for i := range length {
			dx[at+i] += n.grad.Data[o+i*stride]
		}
	})
}
