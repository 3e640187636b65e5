package kernel

import (
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

const (
	// lanes is into how many parts a batch is shared out. It is fixed, so that
	// sums over samples have one order on any number of processors.
	lanes = 4
	// laneWork is the number of multiply-adds below which goroutines cost more
	// than they bring.
	laneWork = 1 << 18
	// costly is about how many multiply-adds an exponential, a sine or an error
	// function takes.
	costly = 16
)

// eachPart calls visit for every part of 0..count-1, at most lanes of them, side
// by side when there is work for it.
func eachPart(count int, work int64, visit func(part, from, to int)) {
	parts := min(lanes, count)
	if work < laneWork {
		for part := range parts {
			visit(part, part*count/parts, (part+1)*count/parts)
		}
		return
	}
	var group sync.WaitGroup
	for part := range parts {
		group.Go(func() { visit(part, part*count/parts, (part+1)*count/parts) })
	}
	group.Wait()
}

// block is the side of the blocks that BLAS shares among goroutines, from
// parallelBlocks blocks on.
const (
	block          = 64
	parallelBlocks = 4
)

// striped is c = a'*b' + beta*c within one lane: the columns are done in
// stripes that BLAS keeps on the calling goroutine, the lanes being what runs in
// parallel. A single row is a matrix-vector product.
func striped(ta, tb blas.Transpose, a, b blas32.General, beta float32, c blas32.General) {
	if len(a.Data) == 0 || len(b.Data) == 0 {
		product(ta, tb, 1, a, b, beta, c)
		return
	}
	if c.Rows == 1 && ta == blas.NoTrans {
		turn := blas.Trans
		if tb == blas.Trans {
			turn = blas.NoTrans
		}
		blas32.Gemv(turn, 1, b, vector(a.Data), beta, vector(c.Data))
		return
	}
	width := c.Cols
	if down := ceilBlocks(c.Rows); down < parallelBlocks {
		width = (parallelBlocks - 1) / down * block
	}
	for from := 0; from < c.Cols; from += width {
		to := min(from+width, c.Cols)
		blas32.Gemm(ta, tb, 1, a, stripe(b, tb, from, to), beta, columns(c, from, to))
	}
}

func ceilBlocks(length int) int { return (length + block - 1) / block }

// blocks is how many of BLAS's blocks m has.
func blocks(m blas32.General) int { return ceilBlocks(m.Rows) * ceilBlocks(m.Cols) }

func vector(data []float32) blas32.Vector { return blas32.Vector{N: len(data), Inc: 1, Data: data} }

// stripe is the part of b that makes columns from..to-1 of the product.
func stripe(b blas32.General, tb blas.Transpose, from, to int) blas32.General {
	if tb == blas.NoTrans {
		return columns(b, from, to)
	}
	return blas32.General{Rows: to - from, Cols: b.Cols, Stride: b.Stride, Data: b.Data[from*b.Stride:]}
}

// rowsOf is the part of a that makes rows from..to-1 of the product.
func rowsOf(a blas32.General, ta blas.Transpose, from, to int) blas32.General {
	if ta == blas.NoTrans {
		return rows(a, from, to)
	}
	return columns(a, from, to)
}

func rows(m blas32.General, from, to int) blas32.General {
	return blas32.General{Rows: to - from, Cols: m.Cols, Stride: m.Stride, Data: m.Data[from*m.Stride:]}
}

func columns(m blas32.General, from, to int) blas32.General {
	return blas32.General{Rows: m.Rows, Cols: to - from, Stride: m.Stride, Data: m.Data[from:]}
}
