package kernel

import "slices"

// Mix is share*a + (1-share)*b by element, for a and b of one shape and shares
// of 0 to 1 that broadcast to it. The shares are a constant: no gradient flows to
// them. Where a share is 0 the result is b, and where it is 1 it is a, bit by bit
// and whatever the other holds; elsewhere it lies between the two in spite of
// rounding.
func (t *Tape) Mix(shares *Tensor, a, b Value) (Value, error) {
	n, out, err := t.record("mix", a, b)
	if err != nil {
		return Value{}, err
	}
	x, y := &n.in[0].value, &n.in[1].value
	if err := checkMix(shares, x.Shape, y.Shape); err != nil {
		return Value{}, err
	}
	n.allocate(x.Shape...)
	n.saved = append(n.saved[:0], shares.Data...)
	n.ints = append(n.ints, shares.Shape...)
	n.back = backMix
	eachShare(x.Shape, shares.Shape, func(at, length, share, step int) {
		to, x, y := n.value.Data[at:at+length], x.Data[at:at+length], y.Data[at:at+length]
		if step == 0 {
			mixEvenly(to, x, y, n.saved[share])
			return
		}
		for i, e := range n.saved[share : share+length] {
			to[i] = mixed(e, x[i], y[i])
		}
	})
	return out, nil
}

func checkMix(shares *Tensor, x, y []int) error {
	if shares == nil || !shares.valid() || len(shares.Shape) > len(x) || !slices.Equal(x, y) {
		return shapeError("mix", "%v with %v", slices.Clone(x), slices.Clone(y))
	}
	offset := len(x) - len(shares.Shape)
	for i, d := range shares.Shape {
		if d != 1 && d != x[offset+i] {
			return shapeError("mix", "shares %v for %v", slices.Clone(shares.Shape), slices.Clone(x))
		}
	}
	for i, e := range shares.Data {
		if !(e >= 0 && e <= 1) {
			return shapeError("mix", "share %d is %v, allowed are 0 to 1", i, e)
		}
	}
	return nil
}

// mixEvenly is Mix for a run of one share.
func mixEvenly(to, x, y []float32, e float32) {
	switch e {
	case 0:
		copy(to, y)
	case 1:
		copy(to, x)
	default:
		rest := 1 - e
		x, y = x[:len(to)], y[:len(to)]
		for i := range to {
			a, b := x[i], y[i]
			to[i] = min(max(float32(e*a)+float32(rest*b), min(a, b)), max(a, b))
		}
	}
}

func mixed(e, a, b float32) float32 {
	switch e {
	case 0:
		return b
	case 1:
		return a
	}
	return min(max(float32(e*a)+float32((1-e)*b), min(a, b)), max(a, b))
}

func backMix(n *node) {
	a, b := n.in[0], n.in[1]
	eachShare(n.value.Shape, n.ints, func(at, length, share, step int) {
		dy := n.grad.Data[at : at+length]
		da, db := a.gradFrom(at), b.gradFrom(at)
		if step == 0 {
			addShare(da, dy, n.saved[share])
			addShare(db, dy, 1-n.saved[share])
			return
		}
		for i, e := range n.saved[share : share+length] {
			if da != nil && e != 0 {
				da[i] += e * dy[i]
			}
			if db != nil && e != 1 {
				db[i] += (1 - e) * dy[i]
			}
		}
	})
}

// addShare leaves out a share of 0, which would make NaN of an infinite gradient.
func addShare(dst, dy []float32, e float32) {
	if e != 0 {
		addTo(dst, dy, e, 1)
	}
}

// eachShare visits the runs of elements of a shape that have one share (step 0)
// or consecutive ones (step 1). shares lines up with the end of the shape.
func eachShare(shape, shares []int, visit func(at, length, share, step int)) {
	var buffer [maxRank]int
	full := buffer[:len(shape)]
	for i := range full {
		full[i] = 1
		if at := i - (len(shape) - len(shares)); at >= 0 {
			full[i] = shares[at]
		}
	}
	length, step, outer := 1, 0, len(shape)
	for outer > 0 && full[outer-1] == 1 {
		outer--
		length *= shape[outer]
	}
	if length == 1 {
		step = 1
		for outer > 0 && full[outer-1] == shape[outer-1] {
			outer--
			length *= shape[outer]
		}
	}
	for run := range sizeOf(shape[:outer]) {
		share, stride, rest := 0, 1, run
		if step == 1 {
			stride = length
		}
		for i := outer - 1; i >= 0; i-- {
			index := rest % shape[i]
			rest /= shape[i]
			if full[i] != 1 {
				share += index * stride
				stride *= full[i]
			}
		}
		visit(run*length, length, share, step)
	}
}
