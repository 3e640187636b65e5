package kernel

// line is one row of window positions as one tap of one channel meets it.
type line struct {
	columns     int // where the row begins in the columns
	first, last int // the positions whose tap meets an element: first..last-1
	x           int // the element under the tap at position first
}

// unfold writes, for every channel and tap, the elements that the tap meets
// over all positions; padding is 0. It is what makes a convolution one matrix
// product (Chellapilla, Puri and Simard 2006).
func (g geometry) unfold(columns, x []float32, channels int) {
	stride := g.cols.stride
	g.eachLine(channels, func(l line) {
		to := columns[l.columns:][:g.cols.out]
		clear(to[:l.first])
		clear(to[l.last:])
		to = to[l.first:l.last]
		if stride == 1 {
			copy(to, x[l.x:])
			return
		}
		for i := range to {
			to[i] = x[l.x+i*stride]
		}
	})
}

// fold adds every element of columns to the element it was read from.
func (g geometry) fold(dx, columns []float32, channels int) {
	g.eachLine(channels, func(l line) {
		from := columns[l.columns+l.first : l.columns+l.last]
		addTo(dx[l.x:], from, 1, g.cols.stride)
	})
}

// eachLine visits every channel, tap and row of positions in the order of the
// columns.
func (g geometry) eachLine(channels int, visit func(l line)) {
	at, plane := 0, g.rows.in*g.cols.in
	for channel := range channels {
		for tap := range g.taps() {
			kr, kc := tap/g.cols.kernel, tap%g.cols.kernel
			top, bottom := g.rows.inside(kr)
			first, last := g.cols.inside(kc)
			start := channel*plane + g.cols.at(first, kc)
			for r := range g.rows.out {
				l := line{columns: at}
				if r >= top && r < bottom && first < last {
					l.first, l.last, l.x = first, last, start+g.rows.at(r, kr)*g.cols.in
				}
				visit(l)
				at += g.cols.out
			}
		}
	}
}
