package kernel_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/kernel"
)

// anyWindow draws a window and the operands of a convolution it fits on, with
// the space of the result.
func anyWindow(r *rapid.T) (w kernel.Window, x, f *kernel.Tensor, space []int) {
	draw := func(name string, low, high int) int { return rapid.IntRange(low, high).Draw(r, name) }
	n := draw("dimensions", 1, 2)
	w.Groups = draw("groups", 1, 3)
	in, out := draw("channels", 1, 2), draw("filters", 1, 2)
	images := []int{draw("samples", 1, 6), w.Groups * in}
	filters := []int{w.Groups * out, in}
	var ends []int
	for range n {
		kernelSize, dilation, stride := draw("kernel", 1, 4), draw("dilation", 1, 3), draw("stride", 1, 3)
		before, after := draw("before", 0, 5), draw("after", 0, 5)
		reach := (kernelSize-1)*dilation + 1
		size := draw("size", max(1, reach-before-after), reach+5)
		images, filters = append(images, size), append(filters, kernelSize)
		w.Strides, w.Dilations = append(w.Strides, stride), append(w.Dilations, dilation)
		w.Pads, ends = append(w.Pads, before), append(ends, after)
		space = append(space, (size+before+after-reach)/stride+1)
	}
	w.Pads = append(w.Pads, ends...)
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
	return w, random(rng, images...), random(rng, filters...), space
}

func TestConvolutionWithAnyWindowMatchesTheReference(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w, x, f, space := anyWindow(r)
		want := refConv(w, space...)([]array{doubled(x), doubled(f)})
		tp := kernel.NewTape()
		images, filters := tp.Input(x), tp.Input(f)
		y := must(t)(tp.Conv(images, filters, value{}, w))
		total := 0.0
		for i, got := range y.Tensor().Data {
			if !near(float64(got), want.data[i], 1e-5) {
				r.Fatalf("%+v: element %d is %v, want %v", w, i, got, want.data[i])
			}
			total += want.data[i] * want.data[i] / 2
		}
		half := must(t)(tp.Scale(must(t)(tp.Mul(y, y)), 0.5))
		if err := tp.Backward(must(t)(tp.ReduceSum(half, false))); err != nil {
			r.Fatal(err)
		}
		// The loss is of second degree in either operand, so by Euler the operand
		// times its gradient is twice the loss.
		for name, v := range map[string]value{"image": images, "filter": filters} {
			along := 0.0
			for i, g := range v.Grad().Data {
				along += float64(g) * float64(v.Tensor().Data[i])
			}
			if math.Abs(along-2*total) > 1e-4*max(1, total) {
				r.Fatalf("%+v: %s gradient along the %s is %v, want %v", w, name, name, along, 2*total)
			}
		}
	})
}

func doubled(x *kernel.Tensor) array {
	a := newArray(x.Shape...)
	for i, v := range x.Data {
		a.data[i] = float64(v)
	}
	return a
}

func TestPoolingWithAnyWindowMatchesTheReference(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		draw := func(name string, low, high int) int { return rapid.IntRange(low, high).Draw(r, name) }
		shape, space, ends := []int{draw("samples", 1, 2), draw("channels", 1, 3)}, []int{}, []int{}
		w := kernel.Window{}
		for range draw("dimensions", 1, 2) {
			length, stride := draw("kernel", 1, 4), draw("stride", 1, 3)
			before, after := draw("before", 0, length-1), draw("after", 0, length-1)
			size := draw("size", max(1, length-before-after), length+5)
			shape, space = append(shape, size), append(space, (size+before+after-length)/stride+1)
			w.Kernel, w.Strides = append(w.Kernel, length), append(w.Strides, stride)
			w.Pads, ends = append(w.Pads, before), append(ends, after)
		}
		w.Pads = append(w.Pads, ends...)
		padding := rapid.Bool().Draw(r, "padding")
		x := random(rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1)), shape...)
		tp := kernel.NewTape()
		in := tp.Constant(x)
		for name, c := range map[string]struct {
			got  value
			want array
		}{
			"largest": {must(t)(tp.MaxPool(in, w)), refPool(w, false, refLargest, space...)([]array{doubled(x)})},
			"average": {must(t)(tp.AveragePool(in, w, padding)),
				refPool(w, padding, refAverage, space...)([]array{doubled(x)})},
		} {
			for i, got := range c.got.Tensor().Data {
				if !near(float64(got), c.want.data[i], 1e-6) {
					r.Fatalf("%s of %+v: element %d is %v, want %v", name, w, i, got, c.want.data[i])
				}
			}
		}
	})
}
