//go:build oracle

package oracle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// operatorCase is one use of an operator on a slot. build leaves the result in
// "y", which has size elements for one example.
type operatorCase struct {
	title string
	slot  []int
	size  int
	build func(b *kernel.Builder)
}

// operatorKernels mixes each result through a random matrix back into the shape
// of the slot, so that every element counts.
func operatorKernels(t *testing.T) []*comparison {
	t.Helper()
	var list []*comparison
	for i, c := range slices.Concat(elementCases(), choiceCases(), denseCases(), spaceCases(), layoutCases()) {
		b := kernel.NewBuilderFor("operator", c.slot...)
		c.build(b)
		width, shape := 1, []int64{0}
		for _, d := range c.slot {
			width *= d
			shape = append(shape, int64(d))
		}
		b.Frozen("mix", scaled(sample(uint64(i), c.size, width), 0.3))
		b.InitInts("slot", shape...)
		b.Node("Flatten", []string{"y"}, "flat")
		b.Node("MatMul", []string{"flat", "mix"}, "mixed")
		b.Node("Reshape", []string{"mixed", "slot"}, "seed")
		list = append(list, &comparison{
			name: fmt.Sprintf("operator-%02d", i), title: c.title, slot: fmt.Sprint(c.slot),
			file: bytesOf(t, b), examples: examples,
		})
	}
	return list
}

// pointwise applies op to the host, made positive when the operator wants it.
func pointwise(op string, positive bool, attrs ...kernel.Attr) operatorCase {
	return operatorCase{op, []int{3, 7}, 21, func(b *kernel.Builder) {
		x := "host"
		if positive {
			b.Node("Abs", []string{"host"}, "positive")
			x = "positive"
		}
		b.Node(op, []string{x}, "y", attrs...)
	}}
}

// pairwise applies op to the host and a constant of a shape.
func pairwise(op string, positive bool, shape ...int) operatorCase {
	return operatorCase{fmt.Sprintf("%s with %v", op, shape), []int{3, 7}, 21, func(b *kernel.Builder) {
		x, other := "host", sample(3, shape...)
		if positive {
			b.Node("Abs", []string{"host"}, "positive")
			x = "positive"
			for i, v := range other.Data {
				other.Data[i] = 0.5 + v*v
			}
		}
		b.Init("other", other)
		b.Node(op, []string{x, "other"}, "y")
	}}
}

func elementCases() []operatorCase {
	var list []operatorCase
	for _, op := range []string{"Identity", "Neg", "Abs", "Exp", "Relu", "Sigmoid", "Tanh", "Erf", "Sin", "Cos"} {
		list = append(list, pointwise(op, false))
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Max", "Min"} {
		list = append(list, pairwise(op, false, 3, 7), pairwise(op, false, 7), pairwise(op, false, 3, 1), pairwise(op, false))
	}
	return append(list,
		pointwise("Sqrt", true), pairwise("Div", true, 3, 7), pairwise("Div", true, 7), pairwise("Pow", true, 3, 7),
		pointwise("Dropout", false),
		operatorCase{"Clip", []int{7}, 7, func(b *kernel.Builder) {
			b.Init("low", kernel.FromSlice([]float32{-0.5}))
			b.Init("high", kernel.FromSlice([]float32{0.25}))
			b.Node("Clip", []string{"host", "low", "high"}, "y")
		}},
		operatorCase{"Silu", []int{7}, 7, func(b *kernel.Builder) { b.Silu("host", "y") }},
		operatorCase{"Gelu", []int{7}, 7, func(b *kernel.Builder) { b.Gelu("host", "y") }},
	)
}

// choice is Where on a condition that build leaves in "condition".
func choice(title string, build func(b *kernel.Builder)) operatorCase {
	return operatorCase{title + ", Where", []int{3, 7}, 21, func(b *kernel.Builder) {
		b.Init("row", sample(4, 7))
		b.Node("Relu", []string{"host"}, "r")
		build(b)
		b.Node("Sub", []string{"row", "r"}, "other")
		b.Node("Where", []string{"condition", "host", "other"}, "y")
	}}
}

func choiceCases() []operatorCase {
	compare := func(op, a, b string) operatorCase {
		return choice(op, func(g *kernel.Builder) { g.Node(op, []string{a, b}, "condition") })
	}
	join := func(op string) operatorCase {
		return choice(op, func(b *kernel.Builder) {
			b.Node("Greater", []string{"host", "row"}, "above")
			b.Node("Less", []string{"host", "r"}, "negative")
			b.Node(op, []string{"above", "negative"}, "condition")
		})
	}
	return []operatorCase{
		compare("Greater", "host", "row"), compare("Less", "host", "row"), compare("Equal", "host", "r"),
		join("And"), join("Or"),
		choice("Not", func(b *kernel.Builder) {
			b.Node("Equal", []string{"host", "r"}, "positive")
			b.Node("Not", []string{"positive"}, "condition")
		}),
		choice("bool constant", func(b *kernel.Builder) { b.InitBools("condition", []bool{true, false, true}, 3, 1) }),
	}
}

func denseCases() []operatorCase {
	f, i := kernel.FloatAttr, kernel.IntAttr
	return []operatorCase{
		{"MatMul", []int{7}, 5, func(b *kernel.Builder) {
			b.Init("w", sample(5, 7, 5))
			b.Node("MatMul", []string{"host", "w"}, "y")
		}},
		{"MatMul batched", []int{3, 7}, 9, func(b *kernel.Builder) {
			b.Node("Transpose", []string{"host"}, "t", kernel.IntsAttr("perm", 0, 2, 1))
			b.Node("MatMul", []string{"host", "t"}, "y")
		}},
		{"Gemm", []int{7}, 5, func(b *kernel.Builder) {
			b.Init("w", sample(6, 5, 7))
			b.Init("c", sample(7, 5))
			b.Node("Gemm", []string{"host", "w", "c"}, "y", f("alpha", 0.5), f("beta", 2), i("transB", 1))
		}},
		{"Softmax last", []int{3, 7}, 21, func(b *kernel.Builder) { b.Node("Softmax", []string{"host"}, "y") }},
		{"Softmax middle", []int{3, 7}, 21, func(b *kernel.Builder) {
			b.Node("Softmax", []string{"host"}, "y", i("axis", 1))
		}},
		{"LayerNormalization", []int{3, 7}, 21, func(b *kernel.Builder) {
			b.Init("scale", sample(8, 7))
			b.Init("bias", sample(9, 7))
			b.Node("LayerNormalization", []string{"host", "scale", "bias"}, "y", f("epsilon", 1e-3))
		}},
		{"LayerNormalization of two dimensions", []int{3, 7}, 21, func(b *kernel.Builder) {
			b.Init("scale", sample(8, 3, 7))
			b.Node("LayerNormalization", []string{"host", "scale"}, "y", i("axis", 1))
		}},
		{"BatchNormalization", []int{3, 4, 5}, 60, func(b *kernel.Builder) {
			b.Init("scale", sample(10, 3))
			b.Init("bias", sample(11, 3))
			b.Init("mean", sample(12, 3))
			b.Init("variance", kernel.FromSlice([]float32{0.5, 1, 2}, 3))
			b.Node("BatchNormalization", []string{"host", "scale", "bias", "mean", "variance"}, "y",
				f("epsilon", 1e-2), f("momentum", 0.8))
		}},
		{"ReduceMean", []int{3, 4, 5}, 4, func(b *kernel.Builder) {
			b.Node("ReduceMean", []string{"host"}, "y", kernel.IntsAttr("axes", 1, -1))
		}},
		{"ReduceMax", []int{3, 4, 5}, 12, func(b *kernel.Builder) {
			b.Node("ReduceMax", []string{"host"}, "y", kernel.IntsAttr("axes", 3), i("keepdims", 0))
		}},
		{"ReduceSum", []int{3, 4, 5}, 5, func(b *kernel.Builder) {
			b.InitInts("axes", 1, 2)
			b.Node("ReduceSum", []string{"host", "axes"}, "y", i("keepdims", 0))
		}},
	}
}

// convolution is a Conv with filters of a shape and a bias.
func convolution(title string, slot []int, size int, filters []int, attrs ...kernel.Attr) operatorCase {
	return operatorCase{"Conv " + title, slot, size, func(b *kernel.Builder) {
		b.Init("w", sample(13, filters...))
		b.Init("c", sample(14, filters[0]))
		b.Node("Conv", []string{"host", "w", "c"}, "y", attrs...)
	}}
}

func pooling(op, title string, slot []int, size int, attrs ...kernel.Attr) operatorCase {
	return operatorCase{op + " " + title, slot, size, func(b *kernel.Builder) {
		b.Node(op, []string{"host"}, "y", attrs...)
	}}
}

func spaceCases() []operatorCase {
	l, i := kernel.IntsAttr, kernel.IntAttr
	maps, sequence := []int{4, 6, 5}, []int{6, 9}
	list := []operatorCase{
		convolution("valid", maps, 2*4*4, []int{2, 4, 3, 2}),
		convolution("padded", maps, 2*6*5, []int{2, 4, 3, 3}, l("pads", 1, 1, 1, 1), l("kernel_shape", 3, 3)),
		convolution("pointwise", maps, 3*6*5, []int{3, 4, 1, 1}),
		convolution("grouped", maps, 6*5*4, []int{6, 2, 2, 2}, i("group", 2)),
		convolution("depthwise", maps, 4*6*5, []int{4, 1, 3, 3}, i("group", 4), l("pads", 1, 1, 1, 1)),
		convolution("dilated", maps, 2*6*5, []int{2, 4, 3, 3}, l("dilations", 2, 2), l("pads", 2, 2, 2, 2)),
		convolution("strided, padded unevenly", maps, 2*4*2, []int{2, 4, 2, 3}, l("strides", 2, 3), l("pads", 1, 0, 2, 2)),
		convolution("1-D causal", sequence, 5*9, []int{5, 6, 3}, l("dilations", 2), l("pads", 4, 0)),
		convolution("1-D grouped", sequence, 6*9, []int{6, 2, 3}, i("group", 3), l("pads", 1, 1)),
		pooling("GlobalAveragePool", "", maps, 4),
	}
	for _, op := range []string{"MaxPool", "AveragePool"} {
		list = append(list,
			pooling(op, "", maps, 4*5*4, l("kernel_shape", 2, 2)),
			pooling(op, "padded", maps, 4*6*5, l("kernel_shape", 3, 3), l("pads", 1, 1, 1, 1)),
			pooling(op, "strided, padded unevenly", maps, 4*4*3, l("kernel_shape", 2, 3), l("strides", 2, 2), l("pads", 1, 0, 1, 2)),
			pooling(op, "1-D", sequence, 6*9, l("kernel_shape", 3), l("pads", 1, 1)))
	}
	return append(list, pooling("AveragePool", "counting padding", maps, 4*6*5,
		l("kernel_shape", 3, 3), l("pads", 1, 1, 1, 1), i("count_include_pad", 1)))
}

// listed applies op to the host and an int64 list.
func listed(op string, size int, list []int64, attrs ...kernel.Attr) operatorCase {
	return operatorCase{fmt.Sprintf("%s %v", op, list), []int{4, 6, 5}, size, func(b *kernel.Builder) {
		b.InitInts("list", list...)
		b.Node(op, []string{"host", "list"}, "y", attrs...)
	}}
}

func layoutCases() []operatorCase {
	i, slot := kernel.IntAttr, []int{4, 6, 5}
	return []operatorCase{
		listed("Reshape", 120, []int64{0, 6, -1}),
		listed("Unsqueeze", 120, []int64{1, -1}),
		listed("Pad", 5*7*8, []int64{0, 1, 0, 2, 0, 0, 1, 1}),
		{"Expand", slot, 240, func(b *kernel.Builder) {
			b.InitInts("axis", 2)
			b.InitInts("sizes", 1, 1, 2, 1, 5)
			b.Node("Unsqueeze", []string{"host", "axis"}, "u")
			b.Node("Expand", []string{"u", "sizes"}, "y")
		}},
		listed("Gather", 3*6*5, []int64{2, -1, 0}, i("axis", 1)),
		{"Gather of a matrix of indices", slot, 4 * 2 * 3 * 5, func(b *kernel.Builder) {
			b.InitIndices("list", []int64{5, 0, 1, 2, 2, -6}, 2, 3)
			b.Node("Gather", []string{"host", "list"}, "y", i("axis", 2))
		}},
		{"Gather of one", slot, 4 * 5, func(b *kernel.Builder) {
			b.InitIndices("list", []int64{3})
			b.Node("Gather", []string{"host", "list"}, "y", i("axis", 2))
		}},
		{"Squeeze", []int{1, 7}, 7, func(b *kernel.Builder) {
			b.InitInts("list", 1)
			b.Node("Squeeze", []string{"host", "list"}, "y")
		}},
		{"Pad with a value", []int{7}, 10, func(b *kernel.Builder) {
			b.InitInts("list", 0, 1, 0, 2)
			b.Init("value", kernel.FromSlice([]float32{1.5}))
			b.Node("Pad", []string{"host", "list", "value"}, "y")
		}},
		{"Transpose", slot, 120, func(b *kernel.Builder) {
			b.Node("Transpose", []string{"host"}, "y", kernel.IntsAttr("perm", 0, 3, 1, 2))
		}},
		{"Slice", slot, 2 * 6 * 3, func(b *kernel.Builder) {
			b.InitInts("starts", 1, -3)
			b.InitInts("ends", 3, 99)
			b.InitInts("axes", 1, -1)
			b.InitInts("steps", 1, 1)
			b.Node("Slice", []string{"host", "starts", "ends", "axes", "steps"}, "y")
		}},
		{"Split, Concat", slot, 120, func(b *kernel.Builder) {
			b.InitInts("sizes", 1, 3)
			b.NodeOutputs("Split", []string{"host", "sizes"}, []string{"left", "right"}, i("axis", 1))
			b.Node("Concat", []string{"right", "left"}, "y", i("axis", 1))
		}},
	}
}
