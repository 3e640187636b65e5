package kernel

// Truth values are float32 on the tape, 1 for true and 0 for false, and have no
// storage for a gradient.

// Greater is a > b by element, broadcast.
func (t *Tape) Greater(a, b Value) (Value, error) {
	return t.compare("greater", a, b, func(x, y float32) bool { return x > y })
}

// Less is a < b by element, broadcast.
func (t *Tape) Less(a, b Value) (Value, error) {
	return t.compare("less", a, b, func(x, y float32) bool { return x < y })
}

// Equal is a == b by element, broadcast.
func (t *Tape) Equal(a, b Value) (Value, error) {
	return t.compare("equal", a, b, func(x, y float32) bool { return x == y })
}

// And is true where both are, broadcast.
func (t *Tape) And(a, b Value) (Value, error) {
	return t.compare("and", a, b, func(x, y float32) bool { return x != 0 && y != 0 })
}

// Or is true where one of both is, broadcast.
func (t *Tape) Or(a, b Value) (Value, error) {
	return t.compare("or", a, b, func(x, y float32) bool { return x != 0 || y != 0 })
}

// Not is true where x is not.
func (t *Tape) Not(x Value) (Value, error) {
	return t.compare("not", x, x, func(x, _ float32) bool { return x == 0 })
}

func (t *Tape) compare(op string, a, b Value, holds func(x, y float32) bool) (Value, error) {
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
	w := broadcastWalk(shape, x.Shape, y.Shape)
	n.in = n.in[:0] // nothing flows back, so allocate gives no gradient
	n.allocate(shape...)
	length, sa, sb := w.inner()
	w.rows(func(o, ia, ib int) {
		for i := range length {
			n.value.Data[o+i] = float32(flag(holds(x.Data[ia+i*sa], y.Data[ib+i*sb])))
		}
	})
	return out, nil
}

// Where is a where condition is true (not 0) and b elsewhere, all broadcast.
// No gradient flows to what was not chosen, nor to the condition.
func (t *Tape) Where(condition, a, b Value) (Value, error) {
	n, out, err := t.record("where", condition, a, b)
	if err != nil {
		return Value{}, err
	}
	c, x, y := n.in[0].value.Shape, n.in[1].value.Shape, n.in[2].value.Shape
	var dims [maxRank]int
	shape, ok := whereShape(&dims, c, x, y)
	if !ok {
		return Value{}, shapeError("where", "%v of %v and %v", c, x, y)
	}
	n.allocate(shape...)
	n.back = backWhere
	n.eachChoice(func(src *node, o, at int) { n.value.Data[o] = src.value.Data[at] })
	return out, nil
}

func whereShape(into *[maxRank]int, condition, a, b []int) ([]int, bool) {
	var dims [maxRank]int
	shape, ok := broadcastShape(&dims, a, b)
	if !ok {
		return nil, false
	}
	return broadcastShape(into, condition, shape)
}

// eachChoice visits every element of the result and the one it was chosen from.
func (n *node) eachChoice(visit func(src *node, o, at int)) {
	condition := &n.in[0].value
	for side, src := range n.in[1:] {
		w := broadcastWalk(n.value.Shape, condition.Shape, src.value.Shape)
		length, sc, ss := w.inner()
		w.rows(func(o, ic, is int) {
			for i := range length {
				if (condition.Data[ic+i*sc] != 0) == (side == 0) {
					visit(src, o+i, is+i*ss)
				}
			}
		})
	}
}

func backWhere(n *node) {
	n.eachChoice(func(src *node, o, at int) { src.addGrad(at, n.grad.Data[o]) })
}
