package kernel

import (
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// MatMul is the matrix product of the last two dimensions, [.., m, k] by
// [.., k, n]; leading dimensions broadcast. Operands have rank 2 or more.
func (t *Tape) MatMul(a, b Value) (Value, error) {
	n, out, err := t.record("matmul", a, b)
	if err != nil {
		return Value{}, err
	}
	x, y := n.in[0].value.Shape, n.in[1].value.Shape
	var dims [maxRank]int
	shape, ok := matmulShape(&dims, x, y)
	if !ok {
		return Value{}, shapeError("matmul", "%v by %v", x, y)
	}
	n.allocate(shape...)
	n.back = backMatMul
	p := newProducts(n)
	p.each(n, multiply)
	return out, nil
}

// matmulShape writes the shape of the product into into.
func matmulShape(into *[maxRank]int, a, b []int) ([]int, bool) {
	la, lb := len(a), len(b)
	if la < 2 || lb < 2 || max(la, lb) > maxRank || a[la-1] != b[lb-2] {
		return nil, false
	}
	batch, ok := broadcastShape(into, a[:la-2], b[:lb-2])
	if !ok {
		return nil, false
	}
	into[len(batch)], into[len(batch)+1] = a[la-2], b[lb-1]
	return into[:len(batch)+2], true
}

// products are the matrix products of one MatMul.
type products struct {
	product size
	batch   walk
	count   int
}

// size is that of one product: m x k by k x n.
type size struct {
	m, k, n int
	apart   bool // no product shares an operand with another
}

func newProducts(n *node) products {
	a, b, out := n.in[0].value.Shape, n.in[1].value.Shape, n.value.Shape
	p := products{product: size{m: a[len(a)-2], k: a[len(a)-1], n: b[len(b)-1]}}
	if len(b) == 2 { // one matrix for the whole batch: a single tall product
		p.product.m = sizeOf(a[:len(a)-1])
		return p
	}
	p.count = sizeOf(out[:len(out)-2])
	p.product.apart = p.count > 1 && sizeOf(a[:len(a)-2]) == p.count && sizeOf(b[:len(b)-2]) == p.count
	p.batch = broadcastWalk(out[:len(out)-2], a[:len(a)-2], b[:len(b)-2])
	return p
}

// visitProduct does something with the product whose output and operands are at
// these offsets. It is no closure, so that small products allocate nothing.
type visitProduct func(n *node, s size, part, c, a, b int)

// each visits every product; those that are apart in parts, side by side.
func (p *products) each(n *node, visit visitProduct) {
	s := p.product
	if s.apart {
		eachApart(n, s, p.count, visit)
		return
	}
	count, sa, sb := p.batch.inner()
	p.batch.rows(func(o, ia, ib int) {
		for i := range count {
			visit(n, s, 0, (o+i)*s.m*s.n, (ia+i*sa)*s.m*s.k, (ib+i*sb)*s.k*s.n)
		}
	})
}

func eachApart(n *node, s size, count int, visit visitProduct) {
	work := saturated(int64(count), int64(s.m), int64(s.k), int64(s.n))
	if work < laneWork {
		visitApart(n, s, 0, 0, count, visit)
		return
	}
	eachPart(count, work, func(part, from, to int) { visitApart(n, s, part, from, to, visit) })
}

func visitApart(n *node, s size, part, from, to int, visit visitProduct) {
	for i := from; i < to; i++ {
		visit(n, s, part, i*s.m*s.n, i*s.m*s.k, i*s.k*s.n)
	}
}

// multiply is c = a'*b' + beta*c, on one goroutine when products run side by
// side.
func (s size) multiply(ta, tb blas.Transpose, a, b blas32.General, beta float32, c blas32.General) {
	if s.apart {
		striped(ta, tb, a, b, beta, c)
		return
	}
	product(ta, tb, 1, a, b, beta, c)
}

func multiply(n *node, s size, _, c, a, b int) {
	s.multiply(blas.NoTrans, blas.NoTrans, matrix(n.in[0].value.Data[a:], s.m, s.k),
		matrix(n.in[1].value.Data[b:], s.k, s.n), 0, matrix(n.value.Data[c:], s.m, s.n))
}

func backMatMul(n *node) {
	p := newProducts(n)
	if n.in[1].hasGrad {
		scratch := p.product.m * p.product.k
		if p.product.apart {
			scratch *= lanes
		}
		n.saved = resize(n.saved, scratch)
	}
	p.each(n, backProduct)
}

func backProduct(n *node, s size, part, c, ia, ib int) {
	a, b, dy := n.in[0], n.in[1], matrix(n.grad.Data[c:], s.m, s.n)
	if a.hasGrad {
		s.multiply(blas.NoTrans, blas.Trans, dy, matrix(b.value.Data[ib:], s.k, s.n),
			1, matrix(a.grad.Data[ia:], s.m, s.k))
	}
	if b.hasGrad {
		left := turned(n.saved[part*s.m*s.k:], matrix(a.value.Data[ia:], s.m, s.k))
		s.multiply(blas.NoTrans, blas.NoTrans, left, dy, 1, matrix(b.grad.Data[ib:], s.k, s.n))
	}
}

// Gemm is alpha * a' * b' + beta * c on matrices, a' and b' transposed when
// asked; c broadcasts to the product, and the zero Value as c means none.
func (t *Tape) Gemm(a, b, c Value, alpha, beta float32, transA, transB bool) (Value, error) {
	n, out, err := t.recordOptional("gemm", c, a, b)
	if err != nil {
		return Value{}, err
	}
	x, y := &n.in[0].value, &n.in[1].value
	m, cols, ok := gemmShape(x.Shape, y.Shape, transA, transB)
	if !ok {
		return Value{}, shapeError("gemm", "%v by %v", x.Shape, y.Shape)
	}
	n.allocate(m, cols)
	n.scalars, n.back = [2]float32{alpha, beta}, backGemm
	n.ints = append(n.ints, flag(transA), flag(transB))
	if !n.fillBias(beta) {
		return Value{}, shapeError("gemm", "%v does not broadcast to %v", n.in[2].value.Shape, n.value.Shape)
	}
	product(transpose(n.ints[0]), transpose(n.ints[1]), alpha, whole(x), whole(y), 1, whole(&n.value))
	return out, nil
}

func gemmShape(a, b []int, transA, transB bool) (m, n int, ok bool) {
	if len(a) != 2 || len(b) != 2 {
		return 0, 0, false
	}
	m, k := a[0], a[1]
	if transA {
		m, k = k, m
	}
	k2, n := b[0], b[1]
	if transB {
		k2, n = n, k2
	}
	return m, n, k == k2
}

// fillBias starts the product's output with beta*c, or with zeros.
func (n *node) fillBias(beta float32) bool {
	if len(n.in) < 3 {
		clear(n.value.Data)
		return true
	}
	c := &n.in[2].value
	var dims [maxRank]int
	shape, ok := broadcastShape(&dims, n.value.Shape, c.Shape)
	if !ok || len(shape) != 2 || shape[0] != n.value.Shape[0] || shape[1] != n.value.Shape[1] {
		return false
	}
	w := broadcastWalk(n.value.Shape, n.value.Shape, c.Shape)
	length, _, stride := w.inner()
	w.rows(func(o, _, ic int) {
		for i := range length {
			n.value.Data[o+i] = beta * c.Data[ic+i*stride]
		}
	})
	return true
}

func backGemm(n *node) {
	a, b, dy := n.in[0], n.in[1], whole(&n.grad)
	transA, transB, alpha := n.ints[0], n.ints[1], n.scalars[0]
	if a.hasGrad {
		if transA == 0 {
			product(blas.NoTrans, transpose(1-transB), alpha, dy, whole(&b.value), 1, whole(&a.grad))
		} else {
			product(transpose(transB), blas.Trans, alpha, whole(&b.value), dy, 1, whole(&a.grad))
		}
	}
	if b.hasGrad {
		if transB == 0 {
			left := whole(&a.value)
			if transA == 0 {
				n.saved = resize(n.saved, len(left.Data))
				left = turned(n.saved, left)
			}
			product(blas.NoTrans, blas.NoTrans, alpha, left, dy, 1, whole(&b.grad))
		} else {
			product(blas.Trans, transpose(transA), alpha, dy, whole(&a.value), 1, whole(&b.grad))
		}
	}
	n.backBias()
}

// turned copies the transpose of m into scratch: the copy costs less than BLAS
// loses on a left operand that it has to read by columns.
func turned(scratch []float32, m blas32.General) blas32.General {
	const tile = 16 // rows whose elements stay in one cache line of the copy
	for top := 0; top < m.Rows; top += tile {
		bottom := min(top+tile, m.Rows)
		for col := range m.Cols {
			line := scratch[col*m.Rows:][:m.Rows]
			for row := top; row < bottom; row++ {
				line[row] = m.Data[row*m.Cols+col]
			}
		}
	}
	return matrix(scratch, m.Cols, m.Rows)
}

func (n *node) backBias() {
	if len(n.in) < 3 || !n.in[2].hasGrad {
		return
	}
	c := n.in[2]
	w := broadcastWalk(n.value.Shape, n.value.Shape, c.value.Shape)
	length, _, stride := w.inner()
	w.rows(func(o, _, ic int) {
		addTo(c.grad.Data[ic:], n.grad.Data[o:o+length], n.scalars[1], stride)
	})
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

func transpose(flag int) blas.Transpose {
	if flag == 0 {
		return blas.NoTrans
	}
	return blas.Trans
}

func whole(x *Tensor) blas32.General { return matrix(x.Data, x.Shape[0], x.Shape[1]) }

func matrix(data []float32, rows, cols int) blas32.General {
	return blas32.General{Rows: rows, Cols: cols, Stride: max(cols, 1), Data: data[:rows*cols]}
}

// product is c = alpha*a'*b' + beta*c. BLAS splits the work by blocks of c and
// sums each in one order, so the result does not depend on the schedule. A product
// of few blocks that is work all the same, such as that of a batch with a deep
// layer, is split by rows.
func product(ta, tb blas.Transpose, alpha float32, a, b blas32.General, beta float32, c blas32.General) {
	if len(a.Data) == 0 || len(b.Data) == 0 {
		if beta == 0 {
			clear(c.Data)
		}
		return
	}
	work := saturated(int64(c.Rows), int64(c.Cols), int64(len(a.Data)/c.Rows))
	if work < laneWork || c.Rows < lanes || blocks(c) >= parallelBlocks {
		blas32.Gemm(ta, tb, alpha, a, b, beta, c)
		return
	}
	eachPart(c.Rows, work, func(_, from, to int) {
		blas32.Gemm(ta, tb, alpha, rowsOf(a, ta, from, to), b, beta, rows(c, from, to))
	})
}
