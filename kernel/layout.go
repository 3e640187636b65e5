package kernel

import "slices"

// Identity is x, recorded as a value of its own.
func (t *Tape) Identity(x Value) (Value, error) { return t.same("identity", x) }

// Dropout is the inference form: the identity.
func (t *Tape) Dropout(x Value) (Value, error) { return t.same("dropout", x) }

func (t *Tape) same(op string, x Value) (Value, error) {
	n, out, err := t.record(op, x)
	if err != nil {
		return Value{}, err
	}
	n.view(n.in[0].value.Data, n.in[0].value.Shape...)
	n.back = backSame
	return out, nil
}

// backSame passes the gradient on unchanged, element for element.
func backSame(n *node) { addTo(n.in[0].grad.Data, n.grad.Data, 1, 1) }

// Reshape gives x another shape with as many elements. One dimension may be -1:
// it takes what is left.
func (t *Tape) Reshape(x Value, shape ...int) (Value, error) {
	n, out, err := t.record("reshape", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	var dims [maxRank]int
	resolved, ok := fillShape(dims[:0], shape, len(src.Data))
	if !ok {
		return Value{}, shapeError("reshape", "%v to %v", src.Shape, slices.Clone(shape))
	}
	n.view(src.Data, resolved...)
	n.back = backSame
	return out, nil
}

// fillShape replaces the one -1 so that shape holds size elements.
func fillShape(into, shape []int, size int) ([]int, bool) {
	if len(shape) > maxRank {
		return nil, false
	}
	open, known := -1, 1
	for i, d := range shape {
		switch {
		case d == -1 && open < 0:
			open = i
		case d < 0:
			return nil, false
		default:
			known *= d
		}
	}
	into = append(into, shape...)
	if open < 0 {
		return into, known == size
	}
	if known == 0 || size%known != 0 {
		return nil, false
	}
	into[open] = size / known
	return into, true
}

// Transpose reorders the dimensions: dimension i of the result is dimension
// perm[i] of x. Without perm the order is reversed.
func (t *Tape) Transpose(x Value, perm ...int) (Value, error) {
	n, out, err := t.record("transpose", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	rank := len(src.Shape)
	n.ints = append(n.ints, perm...)
	if len(perm) == 0 {
		for i := range rank {
			n.ints = append(n.ints, rank-1-i)
		}
	}
	if !isPermutation(n.ints, rank) {
		return Value{}, shapeError("transpose", "%v by %v", src.Shape, slices.Clone(n.ints))
	}
	var dims [maxRank]int
	for i, p := range n.ints {
		dims[i] = src.Shape[p]
	}
	n.allocate(dims[:rank]...)
	n.back = backTranspose
	w := transposeWalk(src.Shape, n.ints)
	w.copy(n.value.Data, src.Data)
	return out, nil
}

func isPermutation(perm []int, rank int) bool {
	if len(perm) != rank || rank > maxRank {
		return false
	}
	var seen [maxRank]bool
	for _, p := range perm {
		if p < 0 || p >= rank || seen[p] {
			return false
		}
		seen[p] = true
	}
	return true
}

// transposeWalk walks the transposed tensor over the original's strides.
func transposeWalk(shape, perm []int) walk {
	var w walk
	for _, p := range perm {
		w.push(shape[p], sizeOf(shape[p+1:]), 0)
	}
	return w
}

func backTranspose(n *node) {
	w := transposeWalk(n.in[0].value.Shape, n.ints)
	w.add(n.in[0].grad.Data, n.grad.Data)
}

// Concat joins values along axis; their other dimensions are equal.
func (t *Tape) Concat(axis int, values ...Value) (Value, error) {
	if len(values) == 0 {
		return Value{}, shapeError("concat", "nothing to join")
	}
	n, out, err := t.record("concat", values...)
	if err != nil {
		return Value{}, err
	}
	first := n.in[0].value.Shape
	axis, ok := resolveAxis(axis, len(first))
	if !ok {
		return Value{}, shapeError("concat", "axis %d of %v", axis, first)
	}
	var dims [maxRank]int
	shape := append(dims[:0], first...)
	shape[axis] = 0
	for _, src := range n.in {
		if !equalBut(axis, src.value.Shape, first) {
			return Value{}, shapeError("concat", "%v with %v", first, src.value.Shape)
		}
		shape[axis] += src.value.Shape[axis]
	}
	n.allocate(shape...)
	n.ints, n.back = append(n.ints, axis), backConcat
	n.eachPart(func(src *node, whole, part, length int) {
		copy(n.value.Data[whole:whole+length], src.value.Data[part:])
	})
	return out, nil
}

func equalBut(axis int, a, b []int) bool {
	return len(a) == len(b) && slices.Equal(a[:axis], b[:axis]) && slices.Equal(a[axis+1:], b[axis+1:])
}

// eachPart visits the runs of elements that the joined tensor shares with each
// operand.
func (n *node) eachPart(visit func(src *node, whole, part, length int)) {
	axis, shape := n.ints[0], n.value.Shape
	inner, outer := sizeOf(shape[axis+1:]), sizeOf(shape[:axis])
	offset := 0
	for _, src := range n.in {
		length := src.value.Shape[axis] * inner
		for o := range outer {
			visit(src, o*shape[axis]*inner+offset, o*length, length)
		}
		offset += length
	}
}

func backConcat(n *node) {
	n.eachPart(func(src *node, whole, part, length int) {
		addTo(src.gradFrom(part), n.grad.Data[whole:whole+length], 1, 1)
	})
}

// Slice takes elements start..end-1 along axis.
func (t *Tape) Slice(x Value, axis, start, end int) (Value, error) {
	n, out, err := t.record("slice", x)
	if err != nil {
		return Value{}, err
	}
	src := &n.in[0].value
	axis, ok := resolveAxis(axis, len(src.Shape))
	if !ok || start < 0 || start > end || end > src.Shape[axis] {
		return Value{}, shapeError("slice", "%d..%d of axis %d of %v", start, end, axis, src.Shape)
	}
	var dims [maxRank]int
	shape := append(dims[:0], src.Shape...)
	shape[axis] = end - start
	n.allocate(shape...)
	n.ints, n.back = append(n.ints, axis, start), backSlice
	n.eachRun(func(whole, part, length int) {
		copy(n.value.Data[part:part+length], src.Data[whole:])
	})
	return out, nil
}

// eachRun visits the runs of elements that the slice shares with its operand.
func (n *node) eachRun(visit func(whole, part, length int)) {
	axis, start, shape := n.ints[0], n.ints[1], n.in[0].value.Shape
	inner := sizeOf(shape[axis+1:])
	length := n.value.Shape[axis] * inner
	for o := range sizeOf(shape[:axis]) {
		visit((o*shape[axis]+start)*inner, o*length, length)
	}
}

func backSlice(n *node) {
	n.eachRun(func(whole, part, length int) {
		addTo(n.in[0].grad.Data[whole:], n.grad.Data[part:part+length], 1, 1)
	})
}

// Split cuts x along axis into pieces of the given sizes, which add up to it.
func (t *Tape) Split(x Value, axis int, sizes ...int) ([]Value, error) {
	src, err := t.node(x)
	if err != nil {
		return nil, err
	}
	resolved, ok := resolveAxis(axis, len(src.value.Shape))
	if !ok || sumOf(sizes) != src.value.Shape[resolved] {
		return nil, shapeError("split", "axis %d of %v into %v", axis, src.value.Shape, slices.Clone(sizes))
	}
	parts := make([]Value, len(sizes))
	return parts, split(t, parts, x, resolved, sizes)
}

// split writes the pieces of x into parts.
func split(t *Tape, parts []Value, x Value, axis int, sizes []int) (err error) {
	start := 0
	for i, size := range sizes {
		if parts[i], err = t.Slice(x, axis, start, start+size); err != nil {
			return err
		}
		start += size
	}
	return nil
}

func sumOf(sizes []int) int {
	total := 0
	for _, s := range sizes {
		total += s
	}
	return total
}
