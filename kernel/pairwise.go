package kernel

import "math"

// pairwise is an element-wise operation of two operands. In both functions the
// operands step by sa and sb, 0 repeating one element.
type pairwise struct {
	forward func(y, a, b []float32, sa, sb int)
	// backward adds to da and db, either of which is nil when it has no storage.
	backward func(da, db, dy, a, b, y []float32, sa, sb int)
}

// Add is a + b, broadcast.
func (t *Tape) Add(a, b Value) (Value, error) { return t.pairwise("add", &addition, a, b) }

// Sub is a - b, broadcast.
func (t *Tape) Sub(a, b Value) (Value, error) { return t.pairwise("sub", &subtraction, a, b) }

// Mul is a * b by element, broadcast.
func (t *Tape) Mul(a, b Value) (Value, error) { return t.pairwise("mul", &multiplication, a, b) }

// Div is a / b by element, broadcast.
func (t *Tape) Div(a, b Value) (Value, error) { return t.pairwise("div", &division, a, b) }

// Pow is a to the power b by element, broadcast. The derivative by b is 0 where
// a is not positive.
func (t *Tape) Pow(a, b Value) (Value, error) { return t.pairwise("pow", &power, a, b) }

// Max is the larger of a and b by element, broadcast; a has the gradient where
// both are equal, and a NaN is kept.
func (t *Tape) Max(a, b Value) (Value, error) { return t.pairwise("max", &larger, a, b) }

// Min is the smaller of a and b by element, broadcast; a has the gradient where
// both are equal, and a NaN is kept.
func (t *Tape) Min(a, b Value) (Value, error) { return t.pairwise("min", &smaller, a, b) }

func (t *Tape) pairwise(op string, kind *pairwise, a, b Value) (Value, error) {
	n, out, err := t.record(op, a, b)
	if err != nil {
		return Value{}, err
	}
	x, y := &n.in[0].value, &n.in[1].value
	var dims [maxRank]int
	shape, ok := broadcastShape(&dims, x.Shape, y.Shape)
	if !ok {
		return Value{}, shapeError(op, "%v with %v", x.Shape, y.Shape)
	}
	n.allocate(shape...)
	n.pairwise, n.back = kind, backPairwise
	w := broadcastWalk(shape, x.Shape, y.Shape)
	length, sa, sb := w.inner()
	w.rows(func(o, ia, ib int) {
		kind.forward(n.value.Data[o:o+length], x.Data[ia:], y.Data[ib:], sa, sb)
	})
	return out, nil
}

func backPairwise(n *node) {
	a, b := n.in[0], n.in[1]
	w := broadcastWalk(n.value.Shape, a.value.Shape, b.value.Shape)
	length, sa, sb := w.inner()
	w.rows(func(o, ia, ib int) {
		n.pairwise.backward(a.gradFrom(ia), b.gradFrom(ib), n.grad.Data[o:o+length],
			a.value.Data[ia:], b.value.Data[ib:], n.value.Data[o:o+length], sa, sb)
	})
}

// gradFrom is the gradient from an offset on; nil without storage.
func (n *node) gradFrom(offset int) []float32 {
	if !n.hasGrad {
		return nil
	}
	return n.grad.Data[offset:]
}

// addTo adds factor*src to dst, which steps by stride; a stride of 0 sums.
func addTo(dst, src []float32, factor float32, stride int) {
	if dst == nil {
		return
	}
	if stride == 1 {
		dst = dst[:len(src)]
		for i, v := range src {
			dst[i] += factor * v
		}
		return
	}
	if stride == 0 {
		dst[0] += factor * sum(src)
		return
	}
	for i, v := range src {
		dst[i*stride] += factor * v
	}
}

func sum(x []float32) float32 {
	total := 0.0
	for _, v := range x {
		total += float64(v)
	}
	return float32(total)
}

var addition = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] + b[i*sb]
		}
	},
	backward: func(da, db, dy, _, _, _ []float32, sa, sb int) {
		addTo(da, dy, 1, sa)
		addTo(db, dy, 1, sb)
	},
}

var subtraction = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] - b[i*sb]
		}
	},
	backward: func(da, db, dy, _, _, _ []float32, sa, sb int) {
		addTo(da, dy, 1, sa)
		addTo(db, dy, -1, sb)
	},
}

var multiplication = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] * b[i*sb]
		}
	},
	backward: func(da, db, dy, a, b, _ []float32, sa, sb int) {
		addProduct(da, dy, b, sa, sb)
		addProduct(db, dy, a, sb, sa)
	},
}

// addProduct adds dy*other to dst by element.
func addProduct(dst, dy, other []float32, stride, otherStride int) {
	if dst == nil {
		return
	}
	if stride == 0 {
		total := 0.0
		for i, g := range dy {
			total += float64(g) * float64(other[i*otherStride])
		}
		dst[0] += float32(total)
		return
	}
	for i, g := range dy {
		dst[i*stride] += g * other[i*otherStride]
	}
}

var division = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = a[i*sa] / b[i*sb]
		}
	},
	backward: func(da, db, dy, _, b, y []float32, sa, sb int) {
		if da != nil {
			for i, g := range dy {
				da[i*sa] += g / b[i*sb]
			}
		}
		if db != nil {
			for i, g := range dy {
				db[i*sb] -= g * y[i] / b[i*sb]
			}
		}
	},
}

var power = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = pow(a[i*sa], b[i*sb])
		}
	},
	backward: func(da, db, dy, a, b, y []float32, sa, sb int) {
		if da != nil {
			for i, g := range dy {
				da[i*sa] += g * b[i*sb] * pow(a[i*sa], b[i*sb]-1)
			}
		}
		if db != nil {
			for i, g := range dy {
				if base := a[i*sa]; base > 0 {
					db[i*sb] += g * y[i] * float32(math.Log(float64(base)))
				}
			}
		}
	},
}

// pow spares the common exponents the cost of the general case.
func pow(base, exponent float32) float32 {
	switch exponent {
	case 1:
		return base
	case 2:
		return base * base
	case 0.5:
		return float32(math.Sqrt(float64(base)))
	}
	return float32(math.Pow(float64(base), float64(exponent)))
}

var larger = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = max(a[i*sa], b[i*sb])
		}
	},
	backward: func(da, db, dy, a, b, _ []float32, sa, sb int) {
		addChosen(da, db, dy, sa, sb, func(i int) bool { return !(a[i*sa] < b[i*sb]) })
	},
}

var smaller = pairwise{
	forward: func(y, a, b []float32, sa, sb int) {
		for i := range y {
			y[i] = min(a[i*sa], b[i*sb])
		}
	},
	backward: func(da, db, dy, a, b, _ []float32, sa, sb int) {
		addChosen(da, db, dy, sa, sb, func(i int) bool { return !(a[i*sa] > b[i*sb]) })
	},
}

// addChosen adds each element of dy to da or to db.
func addChosen(da, db, dy []float32, sa, sb int, first func(i int) bool) {
	for i, g := range dy {
		switch chosen := first(i); {
		case chosen && da != nil:
			da[i*sa] += g
		case !chosen && db != nil:
			db[i*sb] += g
		}
	}
}
