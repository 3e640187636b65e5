package kernel

// maxRank bounds the rank of every tensor that an operation takes.
const maxRank = 8

// walk visits the elements of a row-major output together with the matching
// elements of two strided operands. A stride of 0 repeats an operand.
type walk struct {
	rank int
	dims [maxRank]int
	sa   [maxRank]int
	sb   [maxRank]int
}

// broadcastShape writes the shape of a and b broadcast together into into.
func broadcastShape(into *[maxRank]int, a, b []int) ([]int, bool) {
	rank := max(len(a), len(b))
	if rank > maxRank {
		return nil, false
	}
	for i := range rank {
		da, db := dimFromEnd(a, rank-1-i), dimFromEnd(b, rank-1-i)
		if da != db && da != 1 && db != 1 {
			return nil, false
		}
		into[i] = da
		if da == 1 {
			into[i] = db
		}
	}
	return into[:rank], true
}

func dimFromEnd(shape []int, i int) int {
	if i >= len(shape) {
		return 1
	}
	return shape[len(shape)-1-i]
}

// broadcastWalk walks out over operands of shapes a and b, both of which
// broadcast to out.
func broadcastWalk(out, a, b []int) walk {
	var w walk
	sa, sb := 1, 1
	var strideA, strideB [maxRank]int
	for i := range out {
		at := len(out) - 1 - i
		da, db := dimFromEnd(a, i), dimFromEnd(b, i)
		if da != 1 {
			strideA[at] = sa
		}
		if db != 1 {
			strideB[at] = sb
		}
		sa, sb = sa*da, sb*db
	}
	for i, d := range out {
		w.push(d, strideA[i], strideB[i])
	}
	return w
}

// push adds the next inner dimension, merged into the last one when both
// operands run on without a gap.
func (w *walk) push(dim, sa, sb int) {
	if dim == 1 {
		return
	}
	if last := w.rank - 1; last >= 0 && w.sa[last] == sa*dim && w.sb[last] == sb*dim {
		w.dims[last] *= dim
		w.sa[last], w.sb[last] = sa, sb
		return
	}
	w.dims[w.rank], w.sa[w.rank], w.sb[w.rank] = dim, sa, sb
	w.rank++
}

// copy writes the elements of the first operand in output order.
func (w *walk) copy(out, src []float32) {
	length, stride, _ := w.inner()
	w.rows(func(o, at, _ int) {
		for i := range length {
			out[o+i] = src[at+i*stride]
		}
	})
}

// add adds elements in output order to those of the first operand that copy reads.
func (w *walk) add(dst, out []float32) {
	length, stride, _ := w.inner()
	w.rows(func(o, at, _ int) { addTo(dst[at:], out[o:o+length], 1, stride) })
}

// inner is the length of a row and the strides of both operands in it.
func (w *walk) inner() (n, sa, sb int) {
	if w.rank == 0 {
		return 1, 0, 0
	}
	return w.dims[w.rank-1], w.sa[w.rank-1], w.sb[w.rank-1]
}

// rows calls visit with the offsets of each inner row, in output order.
func (w *walk) rows(visit func(out, a, b int)) {
	n, _, _ := w.inner()
	outer := max(w.rank-1, 0)
	total := sizeOf(w.dims[:outer])
	if n == 0 {
		return
	}
	var index [maxRank]int
	a, b := 0, 0
	for row := range total {
		visit(row*n, a, b)
		for i := outer - 1; i >= 0; i-- {
			index[i]++
			a, b = a+w.sa[i], b+w.sb[i]
			if index[i] < w.dims[i] {
				break
			}
			a, b = a-index[i]*w.sa[i], b-index[i]*w.sb[i]
			index[i] = 0
		}
	}
}
