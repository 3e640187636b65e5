package kernel_test

import (
	"math"
	"slices"
)

// array is a float64 tensor of the hand-written references: slow, obvious, and
// sharing no code with the engine.
type array struct {
	shape []int
	data  []float64
}

func newArray(shape ...int) array {
	return array{slices.Clone(shape), make([]float64, elements(shape))}
}

func elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// offset is where index lies in a, whose missing and single dimensions repeat.
func (a array) offset(index []int) int {
	at := 0
	for i, d := range a.shape {
		k := index[len(index)-len(a.shape)+i]
		if d == 1 {
			k = 0
		}
		at = at*d + k
	}
	return at
}

func (a array) at(index ...int) float64 { return a.data[a.offset(index)] }

// indices lists every index of a shape in row-major order.
func indices(shape []int) [][]int {
	list := [][]int{{}}
	for _, d := range shape {
		var next [][]int
		for _, prefix := range list {
			for k := range d {
				next = append(next, append(slices.Clone(prefix), k))
			}
		}
		list = next
	}
	return list
}

// fill makes an array whose elements are given by index.
func fill(shape []int, f func(index []int) float64) array {
	out := newArray(shape...)
	for i, index := range indices(shape) {
		out.data[i] = f(index)
	}
	return out
}

func refUnary(f func(float64) float64) func([]array) array {
	return func(in []array) array {
		return fill(in[0].shape, func(index []int) float64 { return f(in[0].at(index...)) })
	}
}

func refBinary(f func(a, b float64) float64) func([]array) array {
	return func(in []array) array {
		shape := refBroadcast(in[0].shape, in[1].shape)
		return fill(shape, func(index []int) float64 { return f(in[0].at(index...), in[1].at(index...)) })
	}
}

func refBroadcast(a, b []int) []int {
	if len(a) < len(b) {
		a, b = b, a
	}
	shape := slices.Clone(a)
	for i, d := range b {
		at := len(a) - len(b) + i
		shape[at] = max(shape[at], d)
	}
	return shape
}

func refMatMul(in []array) array {
	a, b := in[0], in[1]
	la, lb := len(a.shape), len(b.shape)
	shape := append(refBroadcast(a.shape[:la-2], b.shape[:lb-2]), a.shape[la-2], b.shape[lb-1])
	return fill(shape, func(index []int) float64 {
		lead, m, n := index[:len(index)-2], index[len(index)-2], index[len(index)-1]
		total := 0.0
		for k := range a.shape[la-1] {
			total += a.at(append(slices.Clone(lead), m, k)...) * b.at(append(slices.Clone(lead), k, n)...)
		}
		return total
	})
}

func refTransposed(a array, yes bool) array {
	if !yes {
		return a
	}
	return fill([]int{a.shape[1], a.shape[0]}, func(i []int) float64 { return a.at(i[1], i[0]) })
}

func refGemm(alpha, beta float64, transA, transB bool) func([]array) array {
	return func(in []array) array {
		y := refMatMul([]array{refTransposed(in[0], transA), refTransposed(in[1], transB)})
		return fill(y.shape, func(index []int) float64 {
			v := alpha * y.at(index...)
			if len(in) > 2 {
				v += beta * in[2].at(index...)
			}
			return v
		})
	}
}

func refSoftmax(axis int) func([]array) array {
	return func(in []array) array {
		return fill(in[0].shape, func(index []int) float64 {
			total := 0.0
			for k := range in[0].shape[axis] {
				other := slices.Clone(index)
				other[axis] = k
				total += math.Exp(in[0].at(other...))
			}
			return math.Exp(in[0].at(index...)) / total
		})
	}
}

// refLayerNorm normalises the last dimension.
func refLayerNorm(epsilon float64) func([]array) array {
	return func(in []array) array {
		x, width := in[0], in[0].shape[len(in[0].shape)-1]
		return fill(x.shape, func(index []int) float64 {
			start := x.offset(index) / width * width
			mean, variance := refMoments(x.data[start : start+width])
			y := (x.at(index...) - mean) / math.Sqrt(variance+epsilon) * in[1].at(index...)
			if len(in) > 2 {
				y += in[2].at(index...)
			}
			return y
		})
	}
}

func refMoments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, variance
}

func refBatchNorm(epsilon float64) func([]array) array {
	return func(in []array) array {
		return fill(in[0].shape, func(index []int) float64 {
			c := index[1]
			return in[1].at(c)*(in[0].at(index...)-in[3].at(c))/math.Sqrt(in[4].at(c)+epsilon) + in[2].at(c)
		})
	}
}

// refMean averages over axes, which it keeps with size 1.
func refMean(axes ...int) func([]array) array {
	return func(in []array) array {
		shape := slices.Clone(in[0].shape)
		count := 1.0
		for _, a := range axes {
			count *= float64(shape[a])
			shape[a] = 1
		}
		out := newArray(shape...)
		for _, index := range indices(in[0].shape) {
			out.data[out.offset(index)] += in[0].at(index...) / count
		}
		return out
	}
}

func refReshape(shape ...int) func([]array) array {
	return func(in []array) array { return array{shape, in[0].data} }
}

func refTranspose(perm ...int) func([]array) array {
	return func(in []array) array {
		shape := make([]int, len(perm))
		for i, p := range perm {
			shape[i] = in[0].shape[p]
		}
		return fill(shape, func(index []int) float64 {
			from := make([]int, len(perm))
			for i, p := range perm {
				from[p] = index[i]
			}
			return in[0].at(from...)
		})
	}
}

func refConcat(axis int) func([]array) array {
	return func(in []array) array {
		shape := slices.Clone(in[0].shape)
		shape[axis] = 0
		for _, a := range in {
			shape[axis] += a.shape[axis]
		}
		return fill(shape, func(index []int) float64 {
			from := slices.Clone(index)
			for _, a := range in {
				if from[axis] < a.shape[axis] {
					return a.at(from...)
				}
				from[axis] -= a.shape[axis]
			}
			panic("index beyond the joined arrays")
		})
	}
}

func refSlice(axis, start, end int) func([]array) array {
	return func(in []array) array {
		shape := slices.Clone(in[0].shape)
		shape[axis] = end - start
		return fill(shape, func(index []int) float64 {
			from := slices.Clone(index)
			from[axis] += start
			return in[0].at(from...)
		})
	}
}

func refCrossEntropy(labels ...int) func([]array) array {
	return func(in []array) array {
		p, out := refSoftmax(1)(in), newArray()
		for row, label := range labels {
			out.data[0] -= math.Log(p.at(row, label)) / float64(len(labels))
		}
		return out
	}
}

func normalCDF(x float64) float64 { return 0.5 * (1 + math.Erf(x/math.Sqrt2)) }
