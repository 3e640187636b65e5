package kernel

import "slices"

func bindReshape(b *binding) (apply, error) {
	if b.flag("allowzero", 0) {
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
	axis := b.int("axis", 1)
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
	return reducedAxes(rank, list)
}

func bindTranspose(b *binding) (apply, error) {
	x := b.shape(0)
	perm := b.list("perm")
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
