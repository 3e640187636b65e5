package kernel_test

import (
	"math/rand/v2"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// convolution is a kernel for maps of 8x16x16: a 3x3 convolution in groups.
func convolution(t testing.TB, groups int) *kernel.Instance {
	rng := rand.New(rand.NewPCG(3, 4))
	b := kernel.NewBuilderFor("conv", 8, 16, 16)
	b.Init("w", random(rng, 8, 8/groups, 3, 3))
	b.Init("bias", random(rng, 8))
	b.Node("Conv", []string{"host", "w", "bias"}, "h",
		kernel.IntAttr("group", int64(groups)), kernel.IntsAttr("pads", 1, 1, 1, 1))
	b.Node("Relu", []string{"h"}, "seed")
	return loaded(t, b).Instantiate()
}

func benchmarkMaps(b *testing.B, instance *kernel.Instance) {
	tape, x := kernel.NewTape(), random(rand.New(rand.NewPCG(1, 1)), 64, 8, 16, 16)
	ok := must(b)
	b.ReportAllocs()
	for b.Loop() {
		tape.Reset()
		y := ok(instance.Forward(tape, tape.Input(x)))
		if err := tape.Backward(ok(tape.ReduceMean(y, false))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConv8x16x16(b *testing.B)          { benchmarkMaps(b, convolution(b, 1)) }
func BenchmarkDepthwiseConv8x16x16(b *testing.B) { benchmarkMaps(b, convolution(b, 8)) }

// BenchmarkConvForward is to be compared with another runtime's forward pass.
func BenchmarkConvForward(b *testing.B) {
	instance := convolution(b, 1)
	tape, x := kernel.NewTape(), random(rand.New(rand.NewPCG(1, 1)), 64, 8, 16, 16)
	b.ReportAllocs()
	for b.Loop() {
		tape.Reset()
		must(b)(instance.Forward(tape, tape.Constant(x)))
	}
}
