package kernel

import "slices"

func bindConv(b *binding) (apply, error) {
	window, err := b.window()
	if err != nil {
		return nil, err
	}
	if window.Groups, err = b.int("group", 1); err != nil {
		return nil, err
	}
	x, w := b.shape(0), b.shape(1)
	if window.Groups < 1 || len(w) > 2 && window.Kernel != nil && !slices.Equal(window.Kernel, w[2:]) {
		return nil, refuse("%d groups, kernel_shape %v of filters %v", window.Groups, window.Kernel, w)
	}
	var dims [maxRank]int
	shape, g, ok := convShape(&dims, x, w, window)
	if !ok {
		return nil, refuse("convolution of %v by %v with %+v", x, w, window)
	}
	if b.has(2) && !slices.Equal(b.shape(2), w[:1]) {
		return nil, refuse("bias %v for %d channels", b.shape(2), w[0])
	}
	b.yields(slices.Clone(shape))
	size, _ := rowSize(shape)
	depth := saturated(int64(w[1]), int64(g.rows.kernel), int64(g.cols.kernel))
	b.cost = saturated(size, depth)
	filters, _ := rowSize(w)
	b.scratch = min(saturated(depth, int64(g.positions())), maxRowElements+1) + filters
	return func(t *Tape, in, out []Value) (err error) {
		bias := Value{}
		if len(in) > 2 {
			bias = in[2]
		}
		out[0], err = t.Conv(in[0], in[1], bias, window)
		return err
	}, nil
}

// window reads the attributes of a window; an absent list is nil.
func (b *binding) window() (w Window, err error) {
	lists := []struct {
		name string
		into *[]int
	}{{"kernel_shape", &w.Kernel}, {"strides", &w.Strides}, {"dilations", &w.Dilations}, {"pads", &w.Pads}}
	for _, l := range lists {
		if *l.into, err = b.list(l.name); err != nil {
			return Window{}, err
		}
	}
	return w, nil
}

func bindMaxPool(b *binding) (apply, error) {
	window, err := b.pool()
	if err != nil {
		return nil, err
	}
	return single(func(t *Tape, x Value) (Value, error) { return t.MaxPool(x, window) }), nil
}

func bindAveragePool(b *binding) (apply, error) {
	window, err := b.pool()
	if err != nil {
		return nil, err
	}
	padding, err := b.flag("count_include_pad", 0)
	if err != nil {
		return nil, err
	}
	return single(func(t *Tape, x Value) (Value, error) { return t.AveragePool(x, window, padding) }), nil
}

func (b *binding) pool() (Window, error) {
	window, err := b.window()
	if err != nil {
		return Window{}, err
	}
	x := b.shape(0)
	var dims [maxRank]int
	shape, g, ok := poolShape(&dims, x, window)
	if !ok || x[1] == batch {
		return Window{}, refuse("pooling of %v with %+v", x, window)
	}
	b.yields(slices.Clone(shape))
	size, _ := rowSize(shape)
	b.visits = saturated(size, int64(g.rows.kernel), int64(g.cols.kernel))
	return window, nil
}
