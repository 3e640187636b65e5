package kernel

import "slices"

func bindConv(b *binding) (apply, error) {
	window := b.window()
	window.Groups = b.int("group", 1)
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
	return result(func(t *Tape, in []Value) (Value, error) {
		return t.Conv(in[0], in[1], third(in), window)
	}), nil
}

// window reads the attributes of a window; an absent list is nil.
func (b *binding) window() Window {
	return Window{
		Kernel: b.list("kernel_shape"), Strides: b.list("strides"), Dilations: b.list("dilations"), Pads: b.list("pads"),
	}
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
	padding := b.flag("count_include_pad", 0)
	return single(func(t *Tape, x Value) (Value, error) { return t.AveragePool(x, window, padding) }), nil
}

func (b *binding) pool() (Window, error) {
	window, x := b.window(), b.shape(0)
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
