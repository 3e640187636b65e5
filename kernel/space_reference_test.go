package kernel_test

import (
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

// refWindow visits the elements of x under the window at an output position;
// inside tells those of x from padding.
func refWindow(x array, space []int, position []int, w kernel.Window, kernelShape []int,
	visit func(tap, at []int, inside bool)) {
	n := len(kernelShape)
	for _, tap := range indices(kernelShape) {
		at, inside := make([]int, n), true
		for i := range n {
			stride, dilation, pad := 1, 1, 0
			if w.Strides != nil {
				stride = w.Strides[i]
			}
			if w.Dilations != nil {
				dilation = w.Dilations[i]
			}
			if w.Pads != nil {
				pad = w.Pads[i]
			}
			at[i] = position[i]*stride + tap[i]*dilation - pad
			inside = inside && at[i] >= 0 && at[i] < space[i]
		}
		visit(tap, at, inside)
	}
}

func refConv(w kernel.Window, space ...int) func([]array) array {
	return func(in []array) array {
		x, f := in[0], in[1]
		groups := max(w.Groups, 1)
		shape := append([]int{x.shape[0], f.shape[0]}, space...)
		return fill(shape, func(index []int) float64 {
			m := index[1]
			total := 0.0
			if len(in) > 2 {
				total = in[2].data[m]
			}
			first := m / (f.shape[0] / groups) * f.shape[1]
			for c := range f.shape[1] {
				refWindow(x, x.shape[2:], index[2:], w, f.shape[2:], func(tap, at []int, inside bool) {
					if inside {
						total += x.at(append([]int{index[0], first + c}, at...)...) * f.at(append([]int{m, c}, tap...)...)
					}
				})
			}
			return total
		})
	}
}

// refPool reduces the elements under the window; padding is left out.
func refPool(w kernel.Window, countPadding bool, reduce func(covered []float64, count int) float64,
	space ...int) func([]array) array {
	return func(in []array) array {
		x := in[0]
		shape := append(slices.Clone(x.shape[:2]), space...)
		return fill(shape, func(index []int) float64 {
			var covered []float64
			taps := 0
			refWindow(x, x.shape[2:], index[2:], w, w.Kernel, func(_, at []int, inside bool) {
				taps++
				if inside {
					covered = append(covered, x.at(append(slices.Clone(index[:2]), at...)...))
				}
			})
			if !countPadding {
				taps = len(covered)
			}
			return reduce(covered, taps)
		})
	}
}

func refLargest(covered []float64, _ int) float64 { return slices.Max(covered) }

func refAverage(covered []float64, count int) float64 {
	total := 0.0
	for _, v := range covered {
		total += v
	}
	return total / float64(count)
}

func refGather(axis int, list []int, shape ...int) func([]array) array {
	return func(in []array) array {
		x := in[0]
		out := slices.Concat(x.shape[:axis], shape, x.shape[axis+1:])
		return fill(out, func(index []int) float64 {
			at := 0
			for i, d := range shape {
				at = at*d + index[axis+i]
			}
			from := (list[at] + x.shape[axis]) % x.shape[axis]
			return x.at(slices.Concat(index[:axis], []int{from}, index[axis+len(shape):])...)
		})
	}
}

func refExpand(shape ...int) func([]array) array {
	return func(in []array) array {
		return fill(refBroadcast(in[0].shape, shape), func(index []int) float64 { return in[0].at(index...) })
	}
}

func refPad(value float64, pads ...int) func([]array) array {
	return func(in []array) array {
		x, rank := in[0], len(in[0].shape)
		shape := slices.Clone(x.shape)
		for i := range shape {
			shape[i] += pads[i] + pads[rank+i]
		}
		return fill(shape, func(index []int) float64 {
			from := slices.Clone(index)
			for i := range from {
				if from[i] -= pads[i]; from[i] < 0 || from[i] >= x.shape[i] {
					return value
				}
			}
			return x.at(from...)
		})
	}
}

func refWhere(in []array) array {
	shape := refBroadcast(in[0].shape, refBroadcast(in[1].shape, in[2].shape))
	return fill(shape, func(index []int) float64 {
		if in[0].at(index...) > 0 {
			return in[1].at(index...)
		}
		return in[2].at(index...)
	})
}

// refReduce folds over axes, which it keeps with size 1.
func refReduce(start float64, step func(a, b float64) float64, axes ...int) func([]array) array {
	return func(in []array) array {
		shape := slices.Clone(in[0].shape)
		for _, a := range axes {
			shape[a] = 1
		}
		out := fill(shape, func([]int) float64 { return start })
		for _, index := range indices(in[0].shape) {
			at := out.offset(index)
			out.data[at] = step(out.data[at], in[0].at(index...))
		}
		return out
	}
}

func refBatchNormTraining(epsilon float64) func([]array) array {
	return func(in []array) array {
		x := in[0]
		var mean, variance []float64
		for c := range x.shape[1] {
			var all []float64
			for _, index := range indices(x.shape) {
				if index[1] == c {
					all = append(all, x.at(index...))
				}
			}
			m, v := refMoments(all)
			mean, variance = append(mean, m), append(variance, v)
		}
		return fill(x.shape, func(index []int) float64 {
			c := index[1]
			return in[1].at(c)*(x.at(index...)-mean[c])/math.Sqrt(variance[c]+epsilon) + in[2].at(c)
		})
	}
}
