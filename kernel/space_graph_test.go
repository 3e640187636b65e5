package kernel_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// operatorCase is one operator on a host slot, with constants it wants.
type operatorCase struct {
	name  string
	slot  []int
	build func(b *kernel.Builder)
	want  string // the inferred shape, or what the refusal says
}

func convolve(filters []int, attrs ...kernel.Attr) func(b *kernel.Builder) {
	return func(b *kernel.Builder) {
		b.Init("w", kernel.NewTensor(filters...))
		b.Node("Conv", []string{"host", "w"}, "seed", attrs...)
	}
}

func on(op string, attrs ...kernel.Attr) func(b *kernel.Builder) {
	return func(b *kernel.Builder) { b.Node(op, []string{"host"}, "seed", attrs...) }
}

// with applies op to the host and an int64 array.
func with(op string, list []int64, shape []int, attrs ...kernel.Attr) func(b *kernel.Builder) {
	return func(b *kernel.Builder) {
		b.InitIndices("list", list, shape...)
		b.Node(op, []string{"host", "list"}, "seed", attrs...)
	}
}

func i64(v ...int64) []int64 { return v }

func TestShapesAreInferred(t *testing.T) {
	ints, one := kernel.IntsAttr, kernel.IntAttr
	maps, sequence := []int{4, 9, 8}, []int{6, 5}
	cases := []operatorCase{
		{"conv", maps, convolve([]int{2, 4, 3, 3}), "[-1 2 7 6]"},
		{"conv padded", maps, convolve([]int{2, 4, 3, 3}, ints("pads", 1, 0, 1, 2)), "[-1 2 9 8]"},
		{"conv grouped", maps, convolve([]int{6, 2, 1, 1}, one("group", 2)), "[-1 6 9 8]"},
		{"conv dilated", maps, convolve([]int{2, 4, 3, 2}, ints("dilations", 2, 5)), "[-1 2 5 3]"},
		{"conv strided", maps, convolve([]int{2, 4, 3, 2}, ints("strides", 2, 3)), "[-1 2 4 3]"},
		{"conv sequence", sequence, convolve([]int{3, 6, 2}, ints("kernel_shape", 2)), "[-1 3 4]"},
		{"max pool", maps, on("MaxPool", ints("kernel_shape", 2, 3), ints("strides", 2, 3)), "[-1 4 4 2]"},
		{"average pool", maps, on("AveragePool", ints("kernel_shape", 3, 3), ints("pads", 2, 0, 1, 0),
			one("count_include_pad", 1)), "[-1 4 10 6]"},
		{"max pool sequence", sequence, on("MaxPool", ints("kernel_shape", 5)), "[-1 6 1]"},
		{"global average pool", maps, on("GlobalAveragePool"), "[-1 4 1 1]"},
		{"gather", sequence, with("Gather", i64(1, -1, 0, 2), []int{2, 2}, one("axis", 1)), "[-1 2 2 5]"},
		{"gather one", sequence, with("Gather", i64(1), nil, one("axis", -1)), "[-1 6]"},
		{"expand", sequence, with("Expand", i64(3, 1, 1, 5), []int{4}), "[3 -1 6 5]"},
		{"pad", sequence, with("Pad", i64(0, 1, 2, 0, 0, 3), []int{6}), "[-1 7 10]"},
		{"reduce max", maps, on("ReduceMax", ints("axes", 2, -1)), "[-1 4 1 1]"},
		{"reduce max dropped", maps, on("ReduceMax", ints("axes", 1), one("keepdims", 0)), "[-1 9 8]"},
		{"reduce sum", maps, with("ReduceSum", i64(1, 3), []int{2}, one("keepdims", 0)), "[-1 9]"},
		{"where", sequence, func(b *kernel.Builder) {
			b.InitBools("mask", []bool{true, false}, 2, 1, 1, 1)
			b.Node("Where", []string{"mask", "host", "host"}, "seed")
		}, "[2 -1 6 5]"},
		{"max", sequence, func(b *kernel.Builder) {
			b.Init("floor", kernel.NewTensor(2, 1, 1, 1))
			b.Node("Max", []string{"host", "floor"}, "seed")
		}, "[2 -1 6 5]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { wantRefusal(t, c, "the output is "+c.want+",") })
	}
}

func wantRefusal(t *testing.T, c operatorCase, reason string) {
	t.Helper()
	b := kernel.NewBuilderFor("case", c.slot...)
	c.build(b)
	taken := allocated(func() {
		if _, err := b.Bytes(); !errors.Is(err, kernel.ErrProfile) || !strings.Contains(err.Error(), reason) {
			t.Errorf("error %v, want it to say %q", err, reason)
		}
	})
	if taken > 8<<20 { // some copies of the largest file of the cases
		t.Errorf("the refusal took %d bytes", taken)
	}
}

func hostileOperators() []operatorCase {
	ints, one := kernel.IntsAttr, kernel.IntAttr
	maps, sequence := []int{4, 9, 8}, []int{6, 5}
	filters := []int{2, 4, 3, 3}
	return []operatorCase{
		{"negative pads", maps, convolve(filters, ints("pads", -1, 0, 0, 0)), "convolution of"},
		{"too few pads", maps, convolve(filters, ints("pads", 1, 1)), "convolution of"},
		{"huge pads", maps, convolve(filters, ints("pads", 1<<40, 0, 0, 0)), `"pads" holds`},
		{"pads of a huge result", maps, convolve(filters, ints("pads", 1<<20, 1<<20, 1<<20, 1<<20)),
			"dimension of 2097159"},
		{"pads of a result beyond the bound", maps, convolve(filters, ints("pads", 1<<18, 1<<18, 1<<18, 1<<18)),
			"elements"},
		{"huge dilation", maps, convolve(filters, ints("dilations", 1<<20, 1<<20)), "convolution of"},
		{"no dilation", maps, convolve(filters, ints("dilations", 0, 0)), "convolution of"},
		{"empty dilations", maps, convolve(filters, ints("dilations", 1)), "convolution of"},
		{"no stride", maps, convolve(filters, ints("strides", 0, 1)), "convolution of"},
		{"negative stride", maps, convolve(filters, ints("strides", 1, -1)), "convolution of"},
		{"another kernel shape", maps, convolve(filters, ints("kernel_shape", 3, 2)), "kernel_shape"},
		{"no group", maps, convolve(filters, one("group", 0)), "0 groups"},
		{"negative group", maps, convolve(filters, one("group", -2)), "-2 groups"},
		{"groups that do not divide the channels", maps, convolve([]int{3, 1, 1, 1}, one("group", 3)), "convolution of"},
		{"groups that do not divide the filters", maps, convolve([]int{3, 2, 1, 1}, one("group", 2)), "convolution of"},
		{"a filter larger than the map", maps, convolve([]int{2, 4, 10, 1}), "convolution of"},
		{"filters of another rank", maps, convolve([]int{2, 4, 3}), "convolution of"},
		{"filters of features", []int{4}, convolve([]int{2, 4}), "convolution of"},
		{"a bias of another length", maps, func(b *kernel.Builder) {
			b.Init("w", kernel.NewTensor(filters...))
			b.Init("bias", kernel.NewTensor(3))
			b.Node("Conv", []string{"host", "w", "bias"}, "seed")
		}, "bias [3]"},
		{"filters of the batch", []int{1, 1, 1}, func(b *kernel.Builder) {
			b.Node("Conv", []string{"host", "host"}, "seed")
		}, "convolution of"},
		{"automatic padding", maps, convolve(filters, one("auto_pad", 1)), `"auto_pad"`},
		{"columns that take memory", []int{64, 64, 64}, convolve([]int{1, 64, 33, 33}, ints("pads", 16, 16, 16, 16)),
			"columns"},
		{"work beyond the bound", []int{64, 100, 100},
			convolve([]int{2048, 64, 1, 1}, ints("pads", 0, 0, 0, 0)), "elements"},

		{"pooling without a window", maps, on("MaxPool"), "pooling of"},
		{"pooling of features", []int{4}, on("MaxPool", ints("kernel_shape", 2)), "pooling of"},
		{"pooling of nothing but padding", maps, on("MaxPool", ints("kernel_shape", 2, 2), ints("pads", 2, 2, 2, 2)),
			"pooling of"},
		{"pooling with rounding up", maps, on("AveragePool", ints("kernel_shape", 2, 2), one("ceil_mode", 1)),
			`"ceil_mode"`},
		{"dilated pooling", maps, on("MaxPool", ints("kernel_shape", 2, 2), ints("dilations", 2, 2)), `"dilations"`},
		{"a huge window", maps, on("MaxPool", ints("kernel_shape", 1<<20, 1<<20)), "pooling of"},
		{"windows that take time", []int{1, 1448, 1448}, on("MaxPool", ints("kernel_shape", 724, 724)), "visits"},
		{"counting neither with nor without padding", maps, on("AveragePool", ints("kernel_shape", 2, 2),
			one("count_include_pad", 2)), `"count_include_pad" is 2`},

		{"an index beyond the end", sequence, with("Gather", i64(6), []int{1}, one("axis", 1)), "index 6 of 6"},
		{"an index before the start", sequence, with("Gather", i64(-7), []int{1}, one("axis", 1)), "index -7 of 6"},
		{"an index of the batch", sequence, with("Gather", i64(0), []int{1}), "axis 0"},
		{"an axis beyond the end", sequence, with("Gather", i64(0), []int{1}, one("axis", 3)), "axis 3"},
		{"indices of many dimensions", sequence, with("Gather", i64(0), []int{1, 1, 1, 1, 1, 1, 1}, one("axis", 1)),
			"gather"},
		{"indices that are computed", sequence, func(b *kernel.Builder) {
			b.Node("Gather", []string{"host", "host"}, "seed")
		}, "wrong element type"},
		{"expanding to nothing", sequence, with("Expand", i64(0, 1), []int{2}), "expand"},
		{"expanding to a negative size", sequence, with("Expand", i64(-3, 1, 1), []int{3}), "expand"},
		{"expanding to what does not fit", sequence, with("Expand", i64(7), []int{1}), "expand"},
		{"expanding beyond the bound", sequence, with("Expand", i64(1<<20, 1, 1, 1), []int{4}), "elements"},
		{"expanding to a matrix of sizes", sequence, with("Expand", i64(1, 1), []int{1, 2}), "a list of at most"},
		{"negative padding", sequence, with("Pad", i64(0, 0, -1, 0, 0, 0), []int{6}), "pad"},
		{"padding of the batch", sequence, with("Pad", i64(1, 0, 0, 0, 0, 0), []int{6}), "pad"},
		{"too little padding", sequence, with("Pad", i64(0, 0), []int{2}), "pad"},
		{"huge padding", sequence, with("Pad", i64(0, 1<<62, 0, 0, 1<<62, 0), []int{6}), "pad"},
		{"a list of many axes", sequence, with("ReduceSum", make([]int64, 65), []int{65}), "a list of at most"},
		{"an axis twice", sequence, with("ReduceSum", i64(1, -2), []int{2}), "axes"},
		{"a huge axis", sequence, with("ReduceSum", i64(1<<62), []int{1}), "axis"},

		{"a condition of floats", sequence, func(b *kernel.Builder) {
			b.Node("Where", []string{"host", "host", "host"}, "seed")
		}, "wrong element type"},
		{"arithmetic of truth values", sequence, func(b *kernel.Builder) {
			b.Node("Greater", []string{"host", "host"}, "c")
			b.Node("Add", []string{"c", "host"}, "seed")
		}, "wrong element type"},
		{"an output of truth values", sequence, on("Not"), "wrong element type"},
		{"a result that is a truth value", sequence, func(b *kernel.Builder) {
			b.Node("Greater", []string{"host", "host"}, "seed")
		}, "the output is"},
		{"a mask where a float belongs", sequence, func(b *kernel.Builder) {
			b.InitBools("mask", []bool{true})
			b.Node("Mul", []string{"host", "mask"}, "seed")
		}, "wrong element type"},
		{"a bound that is a mask", sequence, func(b *kernel.Builder) {
			b.InitBools("mask", []bool{true})
			b.Node("Clip", []string{"host", "mask"}, "seed")
		}, "wrong element type"},
		{"a loop as an operator", sequence, on("Loop"), "not in the profile"},
		{"a momentum beyond 1", sequence, func(b *kernel.Builder) {
			for _, name := range []string{"s", "b", "m", "v"} {
				b.Init(name, ones(6))
			}
			b.Node("BatchNormalization", []string{"host", "s", "b", "m", "v"}, "seed", kernel.FloatAttr("momentum", 1.5))
		}, "momentum 1.5"},
		{"a slot of five dimensions", []int{2, 2, 2, 2}, on("Relu"), "two to four dimensions"},
		{"a slot of no dimensions", nil, on("Relu"), "slot of shape"},
		{"a slot of negative width", []int{4, -1}, on("Relu"), "slot of shape"},
		{"a loop of many steps", sequence, func(b *kernel.Builder) {
			b.Loop(1<<40, "host", func(int, string) string { return "" })
		}, "a loop of"},
		{"indices that do not fill their shape", sequence, with("Gather", i64(1, 2), []int{3}), "do not fill"},
	}
}

func TestHostileOperatorsAreRefusedWithAReason(t *testing.T) {
	for _, c := range hostileOperators() {
		t.Run(c.name, func(t *testing.T) { wantRefusal(t, c, c.want) })
	}
}

// everySpaceOperator uses the operators for maps, and every kind of slot inside.
func everySpaceOperator(t testing.TB) *kernel.Builder {
	t.Helper()
	rng := rand.New(rand.NewPCG(6, 6))
	b := kernel.NewBuilderFor("every-space", 4, 6, 6)
	b.Init("w", random(rng, 4, 2, 3, 3))
	b.Init("bias", random(rng, 4))
	for _, name := range []string{"scale", "variance"} {
		b.Init(name, ones(4))
	}
	b.Init("shift", kernel.NewTensor(4))
	b.Init("mean", kernel.NewTensor(4))
	b.Frozen("zero", scalar(0))
	b.InitInts("edges", 0, 0, 1, 0, 0, 0, 0, 1)
	b.InitInts("twice", 1, 1, 1, 2, 1, 2)
	b.InitInts("fine", 0, 4, 3, 1, 3, 1)
	b.InitInts("coarse", 0, 4, 6, 6)
	b.InitInts("channels", 1)
	b.InitIndices("order", []int64{3, 2, 1, 0}, 4)
	b.InitBools("mask", []bool{true, true, true, false, false, true}, 6)

	b.Node("Conv", []string{"host", "w", "bias"}, "c", kernel.IntAttr("group", 2),
		kernel.IntsAttr("pads", 2, 2, 2, 2), kernel.IntsAttr("dilations", 2, 2))
	b.Node("BatchNormalization", []string{"c", "scale", "shift", "mean", "variance"}, "n")
	b.Silu("n", "silu")
	b.Gelu("silu", "gelu")
	b.Node("Pad", []string{"gelu", "edges"}, "padded")
	b.Node("MaxPool", []string{"padded"}, "top", kernel.IntsAttr("kernel_shape", 2, 2))
	b.Node("AveragePool", []string{"top"}, "small", kernel.IntsAttr("kernel_shape", 2, 2), kernel.IntsAttr("strides", 2, 2))
	b.Node("Reshape", []string{"small", "fine"}, "cells")
	b.Node("Expand", []string{"cells", "twice"}, "spread")
	b.Node("Reshape", []string{"spread", "coarse"}, "large")
	b.Node("Gather", []string{"large", "order"}, "turned", kernel.IntAttr("axis", 1))
	b.Node("ReduceMax", []string{"turned"}, "peak", kernel.IntsAttr("axes", 1))
	b.Node("ReduceSum", []string{"turned", "channels"}, "total")
	b.Node("Max", []string{"peak", "total"}, "upper")
	b.Node("Min", []string{"upper", "turned"}, "lower")
	b.Node("Greater", []string{"lower", "zero"}, "g")
	b.Node("Less", []string{"turned", "upper"}, "l")
	b.Node("Equal", []string{"lower", "turned"}, "e")
	b.Node("Not", []string{"e"}, "ne")
	b.Node("And", []string{"g", "l"}, "a")
	b.Node("Or", []string{"a", "ne"}, "o")
	b.Node("And", []string{"o", "mask"}, "choice")
	b.Node("Where", []string{"choice", "lower", "host"}, "chosen")
	at := b.Loop(3, "chosen", func(step int, at string) string {
		out := fmt.Sprint("step", step)
		b.Node("Add", []string{at, "turned"}, out)
		return out
	})
	b.Node("Identity", []string{at}, "seed")
	return b
}

func TestEveryOperatorForMapsLoadsAndRuns(t *testing.T) {
	k := loaded(t, everySpaceOperator(t))
	runOnce(t, k)
	if in := k.Input(); !slices.Equal(in.Shape, []int{-1, 4, 6, 6}) {
		t.Errorf("input %v", in.Shape)
	}
	if got, want := k.ParameterCount(), 4*2*9+4+4+4; got != want {
		t.Errorf("%d trainable elements, want %d", got, want)
	}
	if got, want := k.MultiplyAdds(), int64(4*36*2*9); got != want {
		t.Errorf("%d multiply-adds, want %d", got, want)
	}
}

func TestNoOperatorOfTheProfileIsLeftOut(t *testing.T) {
	tried := slices.Concat(loaded(t, everyOperator(t)).Operators(), loaded(t, everySpaceOperator(t)).Operators())
	slices.Sort(tried)
	if tried = slices.Compact(tried); !slices.Equal(tried, kernel.Profile()) {
		t.Errorf("tried %v, the profile is %v", tried, kernel.Profile())
	}
}

func TestSlotsOfThreeFormsAreServed(t *testing.T) {
	for _, slot := range [][]int{{5}, {3, 5}, {2, 3, 5}} {
		b := kernel.NewBuilderFor("slot", slot...)
		b.Node("Relu", []string{"host"}, "seed")
		k := loaded(t, b)
		if want := append([]int{-1}, slot...); !slices.Equal(k.Input().Shape, want) || !slices.Equal(k.Output().Shape, want) {
			t.Errorf("slot %v: input %v, output %v", slot, k.Input().Shape, k.Output().Shape)
		}
		runOnce(t, k)
	}
	if !slices.Equal(bytesOf(t, relu(kernel.NewBuilder("same", 4))), bytesOf(t, relu(kernel.NewBuilderFor("same", 4)))) {
		t.Error("a slot of features gives other bytes than NewBuilder")
	}
}

func relu(b *kernel.Builder) *kernel.Builder {
	b.Node("Relu", []string{"host"}, "seed")
	return b
}
