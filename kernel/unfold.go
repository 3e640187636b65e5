package kernel

// unfold writes, for every channel and tap, the line of elements that the tap
// meets over all positions; padding is 0. It is what makes a convolution one
// matrix product (Chellapilla, Puri and Simard 2006).
func (g geometry) unfold(columns, x []float32, channels int) {
	g.eachLine(channels, func(line, row int, inside bool, kc int) {
		to := columns[line:][:g.cols.out]
		if !inside {
			clear(to)
			return
		}
		g.cols.read(to, x[row:][:g.cols.in], kc)
	})
}

// fold adds every element of columns to the element it was read from.
func (g geometry) fold(dx, columns []float32, channels int) {
	g.eachLine(channels, func(line, row int, inside bool, kc int) {
		if inside {
			g.cols.add(dx[row:][:g.cols.in], columns[line:][:g.cols.out], kc)
		}
	})
}

// eachLine visits every channel, tap and row of positions: where its line is in
// the columns, and the row of x that it reads unless it lies in the padding.
func (g geometry) eachLine(channels int, visit func(line, row int, inside bool, kc int)) {
	line, plane := 0, g.rows.in*g.cols.in
	for channel := range channels {
		for tap := range g.taps() {
			kr, kc := tap/g.cols.kernel, tap%g.cols.kernel
			for r := range g.rows.out {
				at := g.rows.at(r, kr)
				visit(line, channel*plane+at*g.cols.in, at >= 0 && at < g.rows.in, kc)
				line += g.cols.out
			}
		}
	}
}

// read copies the elements of a row that tap k meets.
func (e extent) read(to, row []float32, k int) {
	first, last := e.inside(k)
	clear(to[:first])
	clear(to[last:])
	if e.stride == 1 && first < last {
		copy(to[first:last], row[e.at(first, k):])
		return
	}
	for p := first; p < last; p++ {
		to[p] = row[e.at(p, k)]
	}
}

// add is the transpose of read.
func (e extent) add(row, from []float32, k int) {
	first, last := e.inside(k)
	if e.stride == 1 && first < last {
		addTo(row[e.at(first, k):], from[first:last], 1, 1)
		return
	}
	for p := first; p < last; p++ {
		row[e.at(p, k)] += from[p]
	}
}
