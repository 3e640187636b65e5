package tezzeret_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// sample is a repeatable batch of normal values.
func sample(rows, features int) *kernel.Tensor {
	source := rand.New(rand.NewPCG(7, uint64(rows)))
	t := kernel.NewTensor(rows, features)
	for i := range t.Data {
		t.Data[i] = float32(source.NormFloat64())
	}
	return t
}

// instantiate loads a compiled kernel as a seed would.
func instantiate(t *testing.T, c *tezzeret.Compiled) *kernel.Instance {
	t.Helper()
	loaded, err := kernel.Load(c.Artifact)
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Instantiate()
}

// forward runs an instance on x.
func forward(t *testing.T, instance *kernel.Instance, x *kernel.Tensor) *kernel.Tensor {
	t.Helper()
	tape := kernel.NewTape()
	out, err := instance.Forward(tape, tape.Constant(x))
	if err != nil {
		t.Fatal(err)
	}
	return out.Tensor().Clone()
}

// run compiles a blueprint by name and runs it on x.
func run(t *testing.T, name string, params map[string]float64, x *kernel.Tensor) *kernel.Tensor {
	t.Helper()
	return forward(t, instantiate(t, compile(t, find(t, name), params)), x)
}

// parameters returns the parameters of one role, such as "weight", in order.
func parameters(instance *kernel.Instance, role string) []*kernel.Tensor {
	var found []*kernel.Tensor
	for _, p := range instance.Parameters() {
		if strings.HasPrefix(p.Name, role+"_") {
			found = append(found, p.Value)
		}
	}
	return found
}

func set(t *kernel.Tensor, value float32) {
	for i := range t.Data {
		t.Data[i] = value
	}
}

// wantClose compares elements within a tolerance relative to 1.
func wantClose(t *testing.T, what string, got *kernel.Tensor, want []float64, tolerance float64) {
	t.Helper()
	if len(got.Data) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got.Data), len(want))
	}
	for i, w := range want {
		if g := float64(got.Data[i]); math.Abs(g-w) > tolerance*math.Max(1, math.Abs(w)) {
			t.Fatalf("%s: element %d is %v, want %v", what, i, g, w)
		}
	}
}

// each applies f to every element of x.
func each(x *kernel.Tensor, f func(v float64) float64) []float64 {
	out := make([]float64, len(x.Data))
	for i, v := range x.Data {
		out[i] = f(float64(v))
	}
	return out
}

// affine is the reference of a linear layer: row·w + b for every row of x.
func affine(x []float64, w, b *kernel.Tensor) []float64 {
	in, out := w.Shape[0], w.Shape[1]
	rows := len(x) / in
	y := make([]float64, rows*out)
	for r := range rows {
		for o := range out {
			sum := 0.0
			if b != nil {
				sum = float64(b.Data[o])
			}
			for i := range in {
				sum += x[r*in+i] * float64(w.Data[i*out+o])
			}
			y[r*out+o] = sum
		}
	}
	return y
}

// apply is f of every element, in place.
func apply(x []float64, f func(v float64) float64) []float64 {
	for i, v := range x {
		x[i] = f(v)
	}
	return x
}

// plus is the sum of a and factor times b.
func plus(a, b []float64, factor float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] + factor*b[i]
	}
	return out
}

// softmaxRows normalises rows of the given width, in place.
func softmaxRows(x []float64, width int) []float64 {
	for start := 0; start < len(x); start += width {
		row, sum := x[start:start+width], 0.0
		for i, v := range row {
			row[i] = math.Exp(v)
			sum += row[i]
		}
		for i := range row {
			row[i] /= sum
		}
	}
	return x
}

func relu(v float64) float64    { return math.Max(v, 0) }
func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
func gelu(v float64) float64    { return 0.5 * v * (1 + math.Erf(v/math.Sqrt2)) }
func same(v float64) float64    { return v }
