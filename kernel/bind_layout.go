package kernel

import "slices"

func bindConcat(b *binding) (apply, error) {
	first := b.shape(0)
	if b.attribute("axis") == nil {
		return nil, refuse("no axis")
	}
	axis, err := b.axis(0, len(first))
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(first)
	shape[axis] = 0
	for i := range b.in {
		part := b.shape(i)
		if !equalBut(axis, part, first) || part[axis] == batch {
			return nil, refuse("%v cannot be joined to %v along axis %d", part, first, axis)
		}
		shape[axis] += part[axis]
	}
	b.yields(shape)
	return result(func(t *Tape, in []Value) (Value, error) { return t.Concat(axis, in...) }), nil
}

func bindSplit(b *binding) (apply, error) {
	x := b.shape(0)
	axis, err := b.axis(0, len(x))
	if err != nil {
		return nil, err
	}
	sizes, err := b.splitSizes(x[axis])
	if err != nil {
		return nil, err
	}
	for i, size := range sizes {
		b.out[i] = slices.Clone(x)
		b.out[i][axis] = size
	}
	return func(t *Tape, in, out []Value) error { return split(t, out, in[0], axis, sizes) }, nil
}

// splitSizes are the given sizes, or equal ones.
func (b *binding) splitSizes(length int) ([]int, error) {
	count := len(b.out)
	if length == batch {
		return nil, refuse("the batch cannot be split")
	}
	if !b.has(1) {
		if length%count != 0 {
			return nil, refuse("%d cannot be split into %d equal parts", length, count)
		}
		return slices.Repeat([]int{length / count}, count), nil
	}
	sizes := b.in[1].ints
	left := length
	for _, size := range sizes {
		if size < 1 || size > left {
			return nil, refuse("%d cannot be split into %v", length, sizes)
		}
		left -= size
	}
	if left != 0 || len(sizes) != count {
		return nil, refuse("%d cannot be split into %v as %d outputs", length, sizes, count)
	}
	return sizes, nil
}

// cut is a slice along one axis.
type cut struct{ axis, start, end int }

func bindSlice(b *binding) (apply, error) {
	shape := slices.Clone(b.shape(0))
	cuts, err := b.cuts(shape)
	if err != nil {
		return nil, err
	}
	b.yields(shape)
	return single(func(t *Tape, x Value) (Value, error) {
		for _, c := range cuts {
			var err error
			if x, err = t.Slice(x, c.axis, c.start, c.end); err != nil {
				return Value{}, err
			}
		}
		return x, nil
	}), nil
}

// cuts reads starts, ends, axes and steps, and shortens shape accordingly.
func (b *binding) cuts(shape []int) ([]cut, error) {
	starts, ends, axes, steps := b.in[1].ints, b.in[2].ints, b.constants(3), b.constants(4)
	if axes == nil {
		for i := range starts {
			axes = append(axes, i)
		}
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) > 0 && len(steps) != len(starts) {
		return nil, refuse("%d starts, %d ends, %d axes, %d steps", len(starts), len(ends), len(axes), len(steps))
	}
	var cuts []cut
	for i, a := range axes {
		axis, ok := resolveAxis(clamp(a, -maxDim, maxDim), len(shape))
		if !ok || shape[axis] == batch || slices.ContainsFunc(cuts, func(c cut) bool { return c.axis == axis }) {
			return nil, refuse("slice along axis %d of %v", a, shape)
		}
		if steps != nil && steps[i] != 1 {
			return nil, refuse("slice in steps of %d", steps[i])
		}
		c := cut{axis, fromEnd(starts[i], shape[axis]), fromEnd(ends[i], shape[axis])}
		if c.start >= c.end {
			return nil, refuse("slice %d..%d of %d is empty", starts[i], ends[i], shape[axis])
		}
		cuts, shape[axis] = append(cuts, c), c.end-c.start
	}
	return cuts, nil
}

// constants are the values of an optional int64 input.
func (b *binding) constants(i int) []int {
	if !b.has(i) {
		return nil
	}
	return b.in[i].ints
}

// fromEnd is a position within length, a negative one counted from the end.
func fromEnd(position, length int) int {
	if position < 0 {
		position = max(position, -length) + length
	}
	return clamp(position, 0, length)
}

func clamp(v, low, high int) int { return min(max(v, low), high) }
