package tezzeret_test

import (
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// beside joins the rows of two matrices.
func beside(a, b []float64, rows int) []float64 {
	widthA, widthB := len(a)/rows, len(b)/rows
	var out []float64
	for r := range rows {
		out = append(out, a[r*widthA:(r+1)*widthA]...)
		out = append(out, b[r*widthB:(r+1)*widthB]...)
	}
	return out
}

func TestConcatFusionOfItsBranches(t *testing.T) {
	activations := []func(float64) float64{relu, math.Tanh, func(v float64) float64 { return v * sigmoid(v) }, gelu}
	for branches := 2; branches <= 4; branches++ {
		c := compile(t, find(t, "concat_fusion"), map[string]float64{"branches": float64(branches)})
		if want := branches*(32*32+32) + branches*32*32 + 32; c.ParameterCount != want {
			t.Errorf("%d branches: %d parameters, want %d", branches, c.ParameterCount, want)
		}
		instance := instantiate(t, c)
		x := sample(5, 32)
		w, b, rows := parameters(instance, "weight"), parameters(instance, "bias"), each(x, same)
		var joined []float64
		for k := range branches {
			joined = beside(joined, apply(affine(rows, w[k], b[k]), activations[k]), 5)
		}
		want := plus(rows, affine(joined, w[branches], b[branches]), 1)
		wantClose(t, "concat", forward(t, instance, x), want, 1e-5)
	}
}

func TestDenseConnectionGrowsByItsRate(t *testing.T) {
	for rate, growth := range map[float64]int{8: 8, 27.6: 28, 48: 48} {
		instance := instantiate(t, compile(t, find(t, "dense_connection"), map[string]float64{"growth_rate": rate}))
		x := sample(5, 32)
		w, b, joined := parameters(instance, "weight"), parameters(instance, "bias"), each(x, same)
		for k := range 2 {
			if w[k].Shape[1] != growth {
				t.Errorf("growth rate %v: layer %d adds %d features", rate, k, w[k].Shape[1])
			}
			joined = beside(joined, apply(affine(joined, w[k], b[k]), relu), 5)
		}
		wantClose(t, "dense", forward(t, instance, x), affine(joined, w[2], b[2]), 1e-5)
	}
}

func TestMixtureOfExpertsWeighsItsExperts(t *testing.T) {
	cases := []struct{ experts, capacity, width float64 }{{4, 1, 32}, {6, 1.5, 48}, {8, 2, 64}}
	for _, c := range cases {
		instance := instantiate(t, compile(t, find(t, "mixture_of_experts_4"),
			map[string]float64{"experts": c.experts, "capacity": c.capacity}))
		w, b, x := parameters(instance, "weight"), parameters(instance, "bias"), sample(5, 32)
		experts, width := int(c.experts), int(c.width)
		if w[0].Shape[1] != experts || w[1].Shape[1] != experts*width {
			t.Fatalf("%v: gate %v, experts %v", c, w[0].Shape, w[1].Shape)
		}
		rows := each(x, same)
		gates := softmaxRows(affine(rows, w[0], b[0]), experts)
		hidden := apply(affine(rows, w[1], b[1]), relu)
		for i := range hidden {
			row, column := i/(experts*width), i%(experts*width)
			hidden[i] *= gates[row*experts+column/width]
		}
		want := plus(rows, affine(hidden, w[2], b[2]), 1)
		wantClose(t, "mixture", forward(t, instance, x), want, 1e-5)
	}
}

func TestDifferentiableNASPrefersByItsTemperature(t *testing.T) {
	activations := []func(float64) float64{same, relu, math.Tanh, gelu}
	for _, temperature := range []float64{0.5, 1.25, 2} {
		instance := instantiate(t, compile(t, find(t, "differentiable_nas"),
			map[string]float64{"temperature": temperature}))
		preferences := parameters(instance, "preference")[0]
		copy(preferences.Data, []float32{2, 0, -1, 0.5})
		shares := softmaxRows(each(preferences, func(v float64) float64 { return v / temperature }), 4)
		w, b, x := parameters(instance, "weight"), parameters(instance, "bias"), sample(5, 32)
		rows := each(x, same)
		want := rows
		for k, activate := range activations {
			want = plus(want, apply(affine(rows, w[k], b[k]), activate), shares[k])
		}
		wantClose(t, "search", forward(t, instance, x), want, 1e-5)
	}
}

// transpose swaps rows and columns.
func transpose(t *kernel.Tensor) *kernel.Tensor {
	rows, cols := t.Shape[0], t.Shape[1]
	out := kernel.NewTensor(cols, rows)
	for r := range rows {
		for c := range cols {
			out.Data[c*rows+r] = t.Data[r*cols+c]
		}
	}
	return out
}

func TestMetaLearningAdaptsInItsSteps(t *testing.T) {
	for steps := 1; steps <= 5; steps++ {
		instance := instantiate(t, compile(t, find(t, "meta_learning_layer"),
			map[string]float64{"adapt_steps": float64(steps)}))
		x := sample(5, 32)
		decoder, rate := parameters(instance, "decoder")[0], parameters(instance, "rate")[0]
		rows, context := each(x, same), make([]float64, 5*8)
		fit := math.Inf(1)
		for range steps {
			residual := plus(rows, affine(context, decoder, nil), -1)
			gradient := affine(residual, transpose(decoder), nil)
			for i := range context {
				context[i] += gradient[i] * float64(rate.Data[i%8])
			}
			loss := 0.0
			for _, v := range plus(rows, affine(context, decoder, nil), -1) {
				loss += v * v
			}
			if loss >= fit {
				t.Errorf("a step of adaptation worsened the fit from %v to %v", fit, loss)
			}
			fit = loss
		}
		branch := affine(context, parameters(instance, "weight")[0], parameters(instance, "bias")[0])
		wantClose(t, "adaptation", forward(t, instance, x), plus(rows, branch, 1), 1e-5)
	}
}
