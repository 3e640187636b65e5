package kernel_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func TestTruthValuesAreThoseOfTheirOperators(t *testing.T) {
	nan := float32(math.NaN())
	a := kernel.FromSlice([]float32{-1, 0, 1, 2, nan}, 5)
	b := kernel.FromSlice([]float32{0, 0, 1, 1, nan}, 5)
	cases := []struct {
		name string
		run  func(t *tape, a, b value) (value, error)
		want []float32
	}{
		{"greater", (*tape).Greater, []float32{0, 0, 0, 1, 0}},
		{"less", (*tape).Less, []float32{1, 0, 0, 0, 0}},
		{"equal", (*tape).Equal, []float32{0, 1, 1, 0, 0}},
		{"and", (*tape).And, []float32{0, 0, 1, 1, 1}},
		{"or", (*tape).Or, []float32{1, 0, 1, 1, 1}},
		{"not", func(t *tape, a, _ value) (value, error) { return t.Not(a) }, []float32{0, 1, 0, 0, 0}},
	}
	for _, c := range cases {
		tp := kernel.NewTape()
		y := must(t)(c.run(tp, tp.Input(a), tp.Input(b)))
		if !slices.Equal(y.Tensor().Data, c.want) {
			t.Errorf("%s: %v, want %v", c.name, y.Tensor().Data, c.want)
		}
		if y.Grad() != nil {
			t.Errorf("%s: a truth value has storage for a gradient", c.name)
		}
	}
}

func TestComposedOperatorsComputeWhatTheyAreNamedFor(t *testing.T) {
	x := kernel.FromSlice([]float32{-3, -1, -0.25, 0, 0.5, 2}, 1, 6)
	cases := map[string]struct {
		build func(b *kernel.Builder)
		want  func(v float64) float64
	}{
		"silu": {func(b *kernel.Builder) { b.Silu("host", "seed") },
			func(v float64) float64 { return v / (1 + math.Exp(-v)) }},
		"gelu": {func(b *kernel.Builder) { b.Gelu("host", "seed") },
			func(v float64) float64 { return v * normalCDF(v) }},
		"loop": {func(b *kernel.Builder) {
			last := b.Loop(4, "host", func(step int, at string) string {
				b.Node("Add", []string{at, at}, fmt.Sprint("step", step))
				return fmt.Sprint("step", step)
			})
			b.Node("Identity", []string{last}, "seed")
		}, func(v float64) float64 { return 16 * v }},
		"loop of no steps": {func(b *kernel.Builder) {
			b.Node("Neg", []string{b.Loop(0, "host", nil)}, "seed")
		}, func(v float64) float64 { return -v }},
	}
	for name, c := range cases {
		b := kernel.NewBuilder("composed", 6)
		c.build(b)
		tp := kernel.NewTape()
		y := must(t)(loaded(t, b).Instantiate().Forward(tp, tp.Constant(x))).Tensor().Data
		for i, got := range y {
			if want := c.want(float64(x.Data[i])); !near(float64(got), want, 1e-6) {
				t.Errorf("%s of %v is %v, want %v", name, x.Data[i], got, want)
			}
		}
	}
}
