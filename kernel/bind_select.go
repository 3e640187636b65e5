package kernel

import "slices"

func bindWhere(b *binding) (apply, error) {
	var dims [maxRank]int
	shape, ok := whereShape(&dims, b.shape(0), b.shape(1), b.shape(2))
	if !ok {
		return nil, refuse("shapes %v, %v and %v do not broadcast", b.shape(0), b.shape(1), b.shape(2))
	}
	b.yields(slices.Clone(shape))
	return result(func(t *Tape, in []Value) (Value, error) { return t.Where(in[0], in[1], in[2]) }), nil
}

// bindGather checks every index: none is known only when the kernel runs.
func bindGather(b *binding) (apply, error) {
	x, s := b.shape(0), b.in[1]
	axis, err := b.axis(0, len(x))
	if err != nil {
		return nil, err
	}
	if x[axis] == batch || len(x)-1+len(s.shape) > maxRank {
		return nil, refuse("gather %v along axis %d of %v", s.shape, axis, x)
	}
	for _, index := range s.ints {
		if _, ok := resolveIndex(index, x[axis]); !ok {
			return nil, refuse("index %d of %d", index, x[axis])
		}
	}
	var dims [maxRank]int
	b.yields(slices.Clone(gatherShape(&dims, x, axis, s.shape)))
	return single(func(t *Tape, x Value) (Value, error) { return t.Gather(x, axis, s.ints, s.shape...) }), nil
}

func bindExpand(b *binding) (apply, error) {
	x, target := b.shape(0), b.in[1].ints
	var dims [maxRank]int
	shape, ok := broadcastShape(&dims, x, target)
	if !ok || len(target) > 0 && (slices.Min(target) < 1 || slices.Max(target) > maxDim) {
		return nil, refuse("expand %v to %v", x, target)
	}
	b.yields(slices.Clone(shape))
	return single(func(t *Tape, x Value) (Value, error) { return t.Expand(x, target...) }), nil
}

func bindPad(b *binding) (apply, error) {
	value := b.constant(2, 0)
	x, pads := b.shape(0), b.in[1].ints
	var dims [maxRank]int
	shape, ok := padShape(&dims, x, pads)
	if !ok {
		return nil, refuse("pad %v by %v", x, pads)
	}
	b.yields(slices.Clone(shape))
	return single(func(t *Tape, x Value) (Value, error) { return t.Pad(x, value, pads...) }), nil
}
