package kernel

// reduceBinder binds a reduction whose axes are an attribute or, where the
// operator has it so, an int64 input.
func reduceBinder(run func(t *Tape, x Value, keepDims bool, axes ...int) (Value, error)) func(b *binding) (apply, error) {
	return func(b *binding) (apply, error) {
		axes, err := b.list("axes")
		if err != nil {
			return nil, err
		}
		if b.has(1) {
			axes = b.in[1].ints
		}
		keep, err := b.flag("keepdims", 1)
		if err != nil {
			return nil, err
		}
		shape, err := reducedShape(b.shape(0), axes, keep)
		if err != nil {
			return nil, err
		}
		b.yields(shape)
		return single(func(t *Tape, x Value) (Value, error) { return run(t, x, keep, axes...) }), nil
	}
}

func reducedShape(x, axes []int, keep bool) ([]int, error) {
	for _, a := range axes {
		if a < -maxRank || a >= maxRank {
			return nil, refuse("axis %d of %v", a, x)
		}
	}
	reduced, ok := reducedAxes(len(x), axes)
	if !ok {
		return nil, refuse("axes %v of %v", axes, x)
	}
	shape := []int{}
	for i, d := range x {
		switch {
		case !reduced[i]:
			shape = append(shape, d)
		case keep:
			shape = append(shape, 1)
		}
	}
	return shape, nil
}
