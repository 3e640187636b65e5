package tezzeret_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// slots are examples of every form, odd and tiny sizes among them.
func slots() []tezzeret.Slot {
	return []tezzeret.Slot{
		{Features: 1}, {Features: 3}, {Features: 32}, {Features: 64}, {Features: 100},
		{Sequence: 1, Width: 1}, {Sequence: 12, Width: 32}, {Sequence: 9, Width: 5},
		{Channels: 1, Height: 8, Width: 8}, {Channels: 8, Height: 8, Width: 12}, {Channels: 3, Height: 9, Width: 1},
	}
}

// normal is a repeatable batch of normal values for a slot.
func normal(rows int, slot tezzeret.Slot) *kernel.Tensor {
	source := rand.New(rand.NewPCG(11, uint64(rows)))
	t := kernel.NewTensor(append([]int{rows}, slot.Shape()...)...)
	for i := range t.Data {
		t.Data[i] = float32(source.NormFloat64())
	}
	return t
}

// refused says whether a blueprint makes no sense in a slot, as documented.
func refused(name string, slot tezzeret.Slot) bool {
	switch name {
	case "temporal_conv":
		return slot.Kind() == tezzeret.KindImage
	case "feature_pyramid":
		sizes := map[tezzeret.Kind][]int{
			tezzeret.KindFeatures: {slot.Features},
			tezzeret.KindSequence: {slot.Sequence},
			tezzeret.KindImage:    {slot.Height, slot.Width},
		}[slot.Kind()]
		return slices.Min(sizes) < 8
	default:
		return false
	}
}

func TestEveryBlueprintFitsEverySlotOrIsRefusedByName(t *testing.T) {
	for _, slot := range slots() {
		seen := make(map[string]string)
		for _, d := range slices.Concat(compilable(), stressors()) {
			c, err := slotCompiler(slot).CompileConservative(t.Context(), d, nil)
			if refused(d.GetName(), slot) {
				if _, ok := errors.AsType[*tezzeret.NotCompilableError](err); !ok {
					t.Errorf("%s in %s: got %v", d.GetName(), slot, err)
				}
				continue
			}
			if err != nil {
				t.Error(err)
				continue
			}
			loaded, err := kernel.Load(c.Artifact)
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]int{-1}, slot.Shape()...); !slices.Equal(loaded.Output().Shape, want) {
				t.Errorf("%s: output %v, want %v", d.GetName(), loaded.Output().Shape, want)
			}
			if other, dup := seen[c.Checksum]; dup {
				t.Errorf("%s: %s and %s are one kernel", slot, d.GetName(), other)
			}
			seen[c.Checksum] = d.GetName()
		}
	}
}

// reached runs one step in a slot, and reports the parameters that no gradient
// reaches.
func reached(t *testing.T, c *tezzeret.Compiled, slot tezzeret.Slot) (missed []string) {
	t.Helper()
	instance, tape := instantiate(t, c), kernel.NewTape()
	out, err := instance.Forward(tape, tape.Constant(normal(16, slot)))
	if err != nil {
		t.Fatal(err)
	}
	flat, err := tape.Reshape(out, 16, -1)
	if err != nil {
		t.Fatal(err)
	}
	labels := make([]int, 16)
	for i := range labels {
		labels[i] = i * 7 % flat.Shape()[1]
	}
	loss, err := tape.SoftmaxCrossEntropy(flat, labels)
	if err != nil {
		t.Fatal(err)
	}
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
	for _, p := range instance.Parameters() {
		largest := 0.0
		for _, g := range p.Grad.Data {
			largest = math.Max(largest, math.Abs(float64(g)))
		}
		if !(largest > 0) || math.IsInf(largest, 0) {
			missed = append(missed, fmt.Sprintf("%s %v", p.Name, largest))
		}
	}
	return missed
}

func TestGradientsReachEveryParameterInSequencesAndImages(t *testing.T) {
	for _, slot := range []tezzeret.Slot{{Sequence: 12, Width: 32}, {Channels: 8, Height: 8, Width: 12}} {
		for _, d := range compilable() {
			if refused(d.GetName(), slot) {
				continue
			}
			c, err := slotCompiler(slot).CompileConservative(t.Context(), d, nil)
			if err != nil {
				t.Fatal(err)
			}
			if missed := reached(t, c, slot); missed != nil {
				t.Errorf("%s in %s: %v", d.GetName(), slot, missed)
			}
		}
	}
}

func TestSlotShapes(t *testing.T) {
	cases := []struct {
		slot tezzeret.Slot
		kind tezzeret.Kind
		text string
	}{
		{tezzeret.Slot{Features: 32}, tezzeret.KindFeatures, "[N,32]"},
		{tezzeret.Slot{Sequence: 12, Width: 32}, tezzeret.KindSequence, "[N,12,32]"},
		{tezzeret.Slot{Channels: 8, Height: 16, Width: 4}, tezzeret.KindImage, "[N,8,16,4]"},
		{tezzeret.Slot{}, "", "[N,?]"},
		{tezzeret.Slot{Features: -1}, "", "[N,?]"},
		{tezzeret.Slot{Sequence: 4}, "", "[N,?]"},
		{tezzeret.Slot{Width: 4}, "", "[N,?]"},
		{tezzeret.Slot{Features: 4, Width: 4}, "", "[N,?]"},
		{tezzeret.Slot{Channels: 8, Height: -1, Width: 4}, "", "[N,?]"},
		{tezzeret.Slot{Channels: 8, Height: 2, Width: 4, Sequence: 3}, "", "[N,?]"},
	}
	for _, c := range cases {
		if c.slot.Kind() != c.kind || c.slot.String() != c.text {
			t.Errorf("%+v is %q, %s", c.slot, c.slot.Kind(), c.slot)
		}
	}
}
