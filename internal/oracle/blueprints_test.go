//go:build oracle

package oracle

import (
	"errors"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// slots are one of each form, of the sizes that the compiler and the prototype
// use when they are not told otherwise.
func slots() []tezzeret.Slot {
	return []tezzeret.Slot{
		{Features: 32},
		{Sequence: 12, Width: 32},
		{Channels: 8, Height: 16, Width: 16},
	}
}

// blueprintKernels compiles everything in the catalogue that can be compiled,
// with permission for all of it, in every slot that it fits.
func blueprintKernels(t *testing.T) []*comparison {
	t.Helper()
	descriptors := karn.NewCatalog().List()
	var ids []string
	for _, d := range descriptors {
		ids = append(ids, d.GetBlueprintId())
	}
	var list []*comparison
	for _, slot := range slots() {
		compiler := tezzeret.NewCompiler(tezzeret.Config{Slot: slot, Approved: ids, Quarantine: ids})
		for _, d := range descriptors {
			compiled, err := compiler.Compile(t.Context(), d, nil)
			if _, refused := errors.AsType[*tezzeret.NotCompilableError](err); refused {
				t.Logf("%s in %v: %v", d.GetBlueprintId(), slot, err)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, &comparison{
				name:  d.GetBlueprintId() + "-" + string(slot.Kind()),
				title: d.GetBlueprintId() + " " + d.GetName(), slot: slot.String(),
				file: compiled.Artifact, examples: examples, trainable: !d.GetQuarantineOnly(),
			})
		}
	}
	return list
}

// timedKernels are those whose speed is stated beside the runtime's.
func timedKernels(t *testing.T) []*comparison {
	t.Helper()
	dense := kernel.NewBuilder("dense", 784)
	dense.Init("down", scaled(sample(1, 784, 128), 0.03))
	dense.Init("hidden", sample(2, 128))
	dense.Init("up", scaled(sample(3, 128, 784), 0.03))
	dense.Init("bias", sample(4, 784))
	dense.Node("Gemm", []string{"host", "down", "hidden"}, "d")
	dense.Node("Relu", []string{"d"}, "r")
	dense.Node("Gemm", []string{"r", "up", "bias"}, "seed")

	conv := kernel.NewBuilderFor("conv", 8, 16, 16)
	conv.Init("w", scaled(sample(5, 8, 8, 3, 3), 0.1))
	conv.Init("bias", sample(6, 8))
	conv.Node("Conv", []string{"host", "w", "bias"}, "c", kernel.IntsAttr("pads", 1, 1, 1, 1))
	conv.Node("Relu", []string{"c"}, "seed")
	return []*comparison{
		timed(t, "784-128-784, batch of 64", dense),
		timed(t, "8x16x16 3x3 convolution, batch of 64", conv),
	}
}

func timed(t *testing.T, title string, b *kernel.Builder) *comparison {
	return &comparison{name: "timed-" + strings.Fields(title)[0], title: title, file: bytesOf(t, b), examples: 64, timed: true}
}

func scaled(x *kernel.Tensor, factor float32) *kernel.Tensor {
	for i := range x.Data {
		x.Data[i] *= factor
	}
	return x
}

func bytesOf(t *testing.T, b *kernel.Builder) []byte {
	t.Helper()
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}
