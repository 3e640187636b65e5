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
	return func(t *Tape, in, out []Value) (err error) {
		out[0], err = t.Concat(axis, in...)
		return err
	}, nil
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
	return func(t *Tape, in, out []Value) error {
		start := 0
		for i, size := range sizes {
			var err error
			if out[i], err = t.Slice(in[0], axis, start, start+size); err != nil {
				return err
			}
			start += size
		}
		return nil
	}, nil
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

func bindReshape(b *binding) (apply, error) {
	allowZero, err := b.flag("allowzero", 0)
	if err != nil || allowZero {
		return nil, refuse("allowzero")
	}
	x, target := b.shape(0), b.in[1].ints
	if len(target) > maxRank {
		return nil, refuse("%d dimensions", len(target))
	}
	shape := slices.Clone(target)
	for i, d := range shape {
		if d == 0 && i < len(x) {
			shape[i] = x[i]
			if x[i] == batch { // told apart from the -1 that takes what is left
				shape[i] = 0
			}
			continue
		}
		if d < -1 || d == 0 || d > maxDim {
			return nil, refuse("reshape of %v to %v", x, target)
		}
	}
	if !resolveReshape(shape, x) {
		return nil, refuse("reshape of %v to %v", x, target)
	}
	return b.reshape(shape), nil
}

// resolveReshape settles shape, in which 0 is the batch and -1 what is left, to
// hold as many elements as x. The batch stays whole.
func resolveReshape(shape, x []int) bool {
	size, batches := rowSize(x)
	known, copied, open := int64(1), 0, -1
	for i, d := range shape {
		switch d {
		case 0:
			shape[i] = batch
			copied++
		case -1:
			if open >= 0 {
				return false
			}
			open = i
		default:
			known = saturated(known, int64(d))
		}
	}
	switch {
	case open < 0:
		return known == size && copied == batches
	case copied == batches:
		shape[open] = int(size / known)
		return size%known == 0
	default:
		shape[open] = batch
		return known == size && copied == batches-1
	}
}

// reshape yields shape, in which the batch is -1, which is also how the tape
// asks for what is left.
func (b *binding) reshape(shape []int) apply {
	b.yields(shape)
	return single(func(t *Tape, x Value) (Value, error) { return t.Reshape(x, shape...) })
}

// bindFlatten makes a matrix of the dimensions before axis and from it on.
func bindFlatten(b *binding) (apply, error) {
	x := b.shape(0)
	axis, err := b.int("axis", 1)
	if err != nil {
		return nil, err
	}
	if axis < 0 {
		axis += len(x)
	}
	if axis < 0 || axis > len(x) {
		return nil, refuse("flatten %v at axis %d", x, axis)
	}
	shape := []int{1, 1}
	for i, d := range x {
		side := flag(i >= axis)
		if d == batch && shape[side] != 1 || shape[side] == batch && d != 1 {
			return nil, refuse("flatten would merge the batch of %v", x)
		}
		shape[side] *= d
	}
	return b.reshape(shape), nil
}

func bindSqueeze(b *binding) (apply, error) {
	x := b.shape(0)
	axes, ok := markAxes(len(x), b.in[1].ints)
	if !ok {
		return nil, refuse("squeeze %v of %v", b.in[1].ints, x)
	}
	shape := []int{}
	for i, d := range x {
		if !axes[i] {
			shape = append(shape, d)
		} else if d != 1 {
			return nil, refuse("squeeze of axis %d of %v", i, x)
		}
	}
	return b.reshape(shape), nil
}

func bindUnsqueeze(b *binding) (apply, error) {
	x, list := b.shape(0), b.in[1].ints
	rank := len(x) + len(list)
	axes, ok := markAxes(rank, list)
	if !ok {
		return nil, refuse("unsqueeze %v of %v", list, x)
	}
	shape, next := make([]int, rank), 0
	for i := range shape {
		if shape[i] = 1; !axes[i] {
			shape[i] = x[next]
			next++
		}
	}
	return b.reshape(shape), nil
}

// markAxes marks a list of axes, each once and within rank.
func markAxes(rank int, list []int) (marked [maxRank]bool, ok bool) {
	if len(list) == 0 || rank > maxRank {
		return marked, false
	}
	for _, a := range list {
		if a < -maxRank || a >= maxRank {
			return marked, false
		}
	}
	return reducedAxes(rank, list)
}

func bindTranspose(b *binding) (apply, error) {
	x := b.shape(0)
	perm, err := b.list("perm")
	if err != nil {
		return nil, err
	}
	if perm == nil {
		for i := range x {
			perm = append(perm, len(x)-1-i)
		}
	}
	if !isPermutation(perm, len(x)) {
		return nil, refuse("transpose of %v by %v", x, perm)
	}
	shape := make([]int, len(x))
	for i, p := range perm {
		shape[i] = x[p]
	}
	b.yields(shape)
	return single(func(t *Tape, x Value) (Value, error) { return t.Transpose(x, perm...) }), nil
}
