package kernel

import (
	"math"
	"slices"
)

func pointwiseBinder(run func(t *Tape, x Value) (Value, error)) func(b *binding) (apply, error) {
	return func(b *binding) (apply, error) {
		b.yields(b.shape(0))
		return single(run), nil
	}
}

// single runs an operation of one operand and one result.
func single(run func(t *Tape, x Value) (Value, error)) apply {
	return func(t *Tape, in, out []Value) (err error) {
		out[0], err = run(t, in[0])
		return err
	}
}

// result runs an operation of one result.
func result(run func(t *Tape, in []Value) (Value, error)) apply {
	return func(t *Tape, in, out []Value) (err error) {
		out[0], err = run(t, in)
		return err
	}
}

// third is the optional third operand, the zero Value where it is left out.
func third(in []Value) Value {
	if len(in) > 2 {
		return in[2]
	}
	return Value{}
}

func pairwiseBinder(run func(t *Tape, a, b Value) (Value, error)) func(b *binding) (apply, error) {
	return func(b *binding) (apply, error) {
		var dims [maxRank]int
		shape, ok := broadcastShape(&dims, b.shape(0), b.shape(1))
		if !ok {
			return nil, refuse("shapes %v and %v do not broadcast", b.shape(0), b.shape(1))
		}
		b.yields(slices.Clone(shape))
		return result(func(t *Tape, in []Value) (Value, error) { return run(t, in[0], in[1]) }), nil
	}
}

func bindClip(b *binding) (apply, error) {
	low, high := b.constant(1, -math.MaxFloat32), b.constant(2, math.MaxFloat32)
	b.yields(b.shape(0))
	return single(func(t *Tape, x Value) (Value, error) { return t.Clip(x, low, high) }), nil
}

// bindDropout makes noise on a tape in training mode only.
func bindDropout(b *binding) (apply, error) {
	ratio := b.constant(1, 0.5)
	if ratio < 0 || ratio >= 1 {
		return nil, refuse("dropout ratio %v, allowed are 0 up to 1", ratio)
	}
	b.yields(b.shape(0))
	return single(func(t *Tape, x Value) (Value, error) { return t.DropoutNoise(x, ratio) }), nil
}

func bindMatMul(b *binding) (apply, error) {
	x, y := b.shape(0), b.shape(1)
	var dims [maxRank]int
	shape, ok := matmulShape(&dims, x, y)
	if !ok {
		return nil, refuse("product of %v and %v", x, y)
	}
	b.yields(slices.Clone(shape))
	size, _ := rowSize(shape)
	b.cost = saturated(size, max(int64(x[len(x)-1]), 1))
	return result(func(t *Tape, in []Value) (Value, error) { return t.MatMul(in[0], in[1]) }), nil
}

func bindGemm(b *binding) (apply, error) {
	alpha, beta := b.float("alpha", 1), b.float("beta", 1)
	transA, transB := b.flag("transA", 0), b.flag("transB", 0)
	if err := b.gemmShape(transA, transB); err != nil {
		return nil, err
	}
	return result(func(t *Tape, in []Value) (Value, error) {
		return t.Gemm(in[0], in[1], third(in), alpha, beta, transA, transB)
	}), nil
}

func (b *binding) gemmShape(transA, transB bool) error {
	x, y := b.shape(0), b.shape(1)
	m, n, ok := gemmShape(x, y, transA, transB)
	if !ok {
		return refuse("product of %v and %v", x, y)
	}
	shape := []int{m, n}
	if b.has(2) {
		var dims [maxRank]int
		sum, ok := broadcastShape(&dims, shape, b.shape(2))
		if !ok || !slices.Equal(sum, shape) {
			return refuse("%v does not broadcast to %v", b.shape(2), shape)
		}
	}
	b.yields(shape)
	inner := x[1]
	if transA {
		inner = x[0]
	}
	size, _ := rowSize(shape)
	b.cost = saturated(size, max(int64(inner), 1))
	return nil
}

func bindSoftmax(b *binding) (apply, error) {
	axis, err := b.axis(-1, len(b.shape(0)))
	if err != nil {
		return nil, err
	}
	b.yields(b.shape(0))
	return single(func(t *Tape, x Value) (Value, error) { return t.Softmax(x, axis) }), nil
}

func bindLayerNorm(b *binding) (apply, error) {
	x := b.shape(0)
	axis, err := b.axis(-1, len(x))
	if err != nil {
		return nil, err
	}
	epsilon := b.epsilon()
	if stash := b.int("stash_type", typeFloat); stash != typeFloat {
		return nil, refuse("stash_type %d", stash)
	}
	for i := 1; i < len(b.in); i++ {
		if b.has(i) && !slices.Equal(b.shape(i), x[axis:]) {
			return nil, refuse("input %d is %v, want %v", i, b.shape(i), x[axis:])
		}
	}
	b.yields(x)
	return result(func(t *Tape, in []Value) (Value, error) {
		return t.layerNorm(in[0], in[1], third(in), axis, epsilon)
	}), nil
}

func (b *binding) epsilon() float32 {
	epsilon := b.float("epsilon", 1e-5)
	if epsilon <= 0 {
		b.fail("epsilon %v", epsilon)
	}
	return epsilon
}

func bindGlobalAveragePool(b *binding) (apply, error) {
	x := b.shape(0)
	if len(x) < 3 {
		return nil, refuse("%v has no space to pool", x)
	}
	shape := slices.Clone(x)
	for i := range shape[2:] {
		shape[2+i] = 1
	}
	b.yields(shape)
	return single((*Tape).GlobalAveragePool), nil
}
