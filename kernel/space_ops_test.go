package kernel_test

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

func conv(w kernel.Window) func(*tape, values) (value, error) {
	return func(t *tape, in values) (value, error) {
		bias := value{}
		if len(in) > 2 {
			bias = in[2]
		}
		return t.Conv(in[0], in[1], bias, w)
	}
}

func maxPool(w kernel.Window) func(*tape, values) (value, error) {
	return func(t *tape, in values) (value, error) { return t.MaxPool(in[0], w) }
}

func averagePool(w kernel.Window, countPadding bool) func(*tape, values) (value, error) {
	return func(t *tape, in values) (value, error) { return t.AveragePool(in[0], w, countPadding) }
}

// positiveWhere chooses a where the first operand is positive: the condition
// has no gradient, and near no boundary the reference's is 0 too.
func positiveWhere(t *tape, in values) (value, error) {
	condition, err := t.Greater(in[0], t.Constant(kernel.NewTensor()))
	if err != nil {
		return value{}, err
	}
	return t.Where(condition, in[1], in[2])
}

// windowOperations are the cases of convolution and pooling.
func windowOperations() []operation {
	s := func(shapes ...[]int) [][]int { return shapes }
	d := func(dims ...int) []int { return dims }
	same := kernel.Window{Pads: d(1, 1, 1, 1)}
	odd := kernel.Window{Strides: d(2, 3), Dilations: d(2, 1), Pads: d(1, 0, 2, 3), Groups: 2}
	causal := kernel.Window{Dilations: d(3), Pads: d(6, 0)}
	depthwise := kernel.Window{Pads: d(1, 1), Groups: 4}
	square := kernel.Window{Kernel: d(3, 3), Pads: d(1, 1, 1, 1)}
	halves := kernel.Window{Kernel: d(2, 3), Strides: d(2, 2), Pads: d(0, 1, 1, 2)}
	line := kernel.Window{Kernel: d(3), Pads: d(1, 1)}
	return []operation{
		{"conv", s(d(2, 3, 4, 5), d(2, 3, 3, 3), d(2)), false, conv(same), refConv(same, 4, 5)},
		{"conv valid", s(d(6, 2, 4, 5), d(3, 2, 2, 3)), false, conv(kernel.Window{}), refConv(kernel.Window{}, 3, 3)},
		{"conv pointwise", s(d(2, 3, 2, 3), d(4, 3, 1, 1), d(4)), false, conv(kernel.Window{}),
			refConv(kernel.Window{}, 2, 3)},
		{"conv pointwise strided", s(d(2, 3, 4, 3), d(2, 3, 1, 1)), false, conv(kernel.Window{Strides: d(2, 2)}),
			refConv(kernel.Window{Strides: d(2, 2)}, 2, 2)},
		{"conv pointwise strided into padding", s(d(1, 1, 2), d(1, 1, 1)), false,
			conv(kernel.Window{Strides: d(2), Pads: d(0, 1)}), refConv(kernel.Window{Strides: d(2), Pads: d(0, 1)}, 2)},
		{"conv odd", s(d(5, 4, 5, 4), d(6, 2, 2, 2), d(6)), false, conv(odd), refConv(odd, 3, 2)},
		{"conv beyond its padding", s(d(1, 1, 2, 2), d(1, 1, 2, 2)), false,
			conv(kernel.Window{Pads: d(3, 3, 3, 3), Dilations: d(4, 4)}),
			refConv(kernel.Window{Pads: d(3, 3, 3, 3), Dilations: d(4, 4)}, 4, 4)},
		{"conv sequence", s(d(2, 3, 7), d(4, 3, 3), d(4)), false, conv(causal), refConv(causal, 7)},
		{"conv depthwise", s(d(2, 4, 6), d(4, 1, 3), d(4)), false, conv(depthwise), refConv(depthwise, 6)},
		{"conv many samples", s(d(9, 1, 3, 3), d(1, 1, 2, 2)), false, conv(kernel.Window{}), refConv(kernel.Window{}, 2, 2)},

		{"max pool", s(d(2, 2, 4, 4)), false, maxPool(square), refPool(square, false, refLargest, 4, 4)},
		{"max pool strided", s(d(2, 2, 5, 4)), false, maxPool(halves), refPool(halves, false, refLargest, 3, 3)},
		{"max pool sequence", s(d(2, 2, 5)), false, maxPool(line), refPool(line, false, refLargest, 5)},
		{"average pool", s(d(2, 2, 4, 4)), false, averagePool(square, false), refPool(square, false, refAverage, 4, 4)},
		{"average pool with padding", s(d(2, 2, 4, 4)), false, averagePool(square, true),
			refPool(square, true, refAverage, 4, 4)},
		{"average pool strided", s(d(2, 2, 5, 4)), false, averagePool(halves, false),
			refPool(halves, false, refAverage, 3, 3)},
		{"average pool sequence", s(d(2, 2, 5)), false, averagePool(line, true), refPool(line, true, refAverage, 5)},
	}
}

// selectOperations are the cases of choosing, moving and reducing elements.
func selectOperations() []operation {
	s := func(shapes ...[]int) [][]int { return shapes }
	d := func(dims ...int) []int { return dims }
	add := func(a, b float64) float64 { return a + b }
	gather := func(axis int, list []int, shape ...int) func(*tape, values) (value, error) {
		return func(t *tape, in values) (value, error) { return t.Gather(in[0], axis, list, shape...) }
	}
	return []operation{
		{"max", s(d(3, 4), d(3, 4)), false, of2((*tape).Max), refBinary(math.Max)},
		{"max both ways", s(d(2, 1, 3), d(5, 1)), false, of2((*tape).Max), refBinary(math.Max)},
		{"min row", s(d(3, 4), d(4)), false, of2((*tape).Min), refBinary(math.Min)},
		{"where", s(d(3, 4), d(3, 4), d(3, 4)), false, positiveWhere, refWhere},
		{"where broadcast", s(d(2, 1, 4), d(3, 1), d()), false, positiveWhere, refWhere},
		{"gather", s(d(4, 3)), false, gather(0, d(2, 0, -1, 2), 4), refGather(0, d(2, 0, 3, 2), 4)},
		{"gather neighbours", s(d(2, 4, 3)), false, gather(1, d(3, 0, 1, 0, 1, 2), 2, 3),
			refGather(1, d(3, 0, 1, 0, 1, 2), 2, 3)},
		{"gather one", s(d(2, 4, 3)), false, gather(-1, d(1)), refGather(2, d(1))},
		{"expand", s(d(2, 1, 3)), false, func(t *tape, in values) (value, error) { return t.Expand(in[0], 4, 2, 5, 1) },
			refExpand(4, 2, 5, 3)},
		{"pad", s(d(2, 3)), false, func(t *tape, in values) (value, error) { return t.Pad(in[0], 0.5, 1, 2, 0, 3) },
			refPad(0.5, 1, 2, 0, 3)},
		{"pad a single", s(d(1, 1)), false, func(t *tape, in values) (value, error) { return t.Pad(in[0], 0, 0, 2, 1, 0) },
			refPad(0, 0, 2, 1, 0)},
		{"sum rows", s(d(3, 4)), false, func(t *tape, in values) (value, error) { return t.ReduceSum(in[0], true, 1) },
			refReduce(0, add, 1)},
		{"sum outer", s(d(3, 4, 2)), false, func(t *tape, in values) (value, error) {
			return t.ReduceSum(in[0], true, 0, -1)
		}, refReduce(0, add, 0, 2)},
		{"largest of rows", s(d(3, 4)), true, func(t *tape, in values) (value, error) {
			return t.ReduceMax(in[0], true, 1)
		}, refReduce(math.Inf(-1), math.Max, 1)},
		{"largest of outer", s(d(3, 4, 2)), true, func(t *tape, in values) (value, error) {
			return t.ReduceMax(in[0], true, 0, 2)
		}, refReduce(math.Inf(-1), math.Max, 0, 2)},
		{"batchnorm training", s(d(5, 3), d(3), d(3)), false, batchNormTraining, refBatchNormTraining(1e-2)},
		{"batchnorm training space", s(d(2, 3, 2, 2), d(3), d(3)), false, batchNormTraining, refBatchNormTraining(1e-2)},
	}
}

func batchNormTraining(t *tape, in values) (value, error) {
	return t.BatchNormTraining(in[0], in[1], in[2], 1e-2)
}
