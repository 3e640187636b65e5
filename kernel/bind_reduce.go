package kernel

// reduceBinder binds a reduction whose axes are an attribute or, where the
// operator has it so, an int64 input.
func reduceBinder(run func(t *Tape, x Value, keepDims bool, axes ...int) (Value, error)) func(b *binding) (apply, error) {
	return func(b *binding) (apply, error) {
		axes, keep := b.list("axes"), b.flag("keepdims", 1)
		if b.has(1) {
			axes = b.in[1].ints
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
	reduced, ok := reducedAxes(len(x), axes)
	if !ok {
		return nil, refuse("no such axis, or one twice: axes %v of %v", axes, x)
	}
	return appendReduced([]int{}, x, reduced, keep), nil
}
