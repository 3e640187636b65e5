package tezzeret_test

import (
	"math"
	"slices"
	"testing"
)

func TestHighwayWithAClosedGatePassesItsInput(t *testing.T) {
	instance := instantiate(t, compile(t, find(t, "highway_gate"), nil))
	x := sample(5, 32)
	gate := parameters(instance, "bias")[0]
	set(gate, -200)
	if y := forward(t, instance, x); !slices.Equal(y.Data, x.Data) {
		t.Error("a closed gate changed the input")
	}
	set(gate, 200)
	change := apply(affine(each(x, same), parameters(instance, "weight")[1], parameters(instance, "bias")[1]), relu)
	wantClose(t, "open gate", forward(t, instance, x), change, 1e-5)
}

func TestHighwayHonoursItsGateBias(t *testing.T) {
	x := sample(50, 32)
	for _, bias := range []float64{-3, 0, 3} {
		instance := instantiate(t, compile(t, find(t, "highway_gate"), map[string]float64{"gate_bias": bias}))
		w, b, rows := parameters(instance, "weight"), parameters(instance, "bias"), each(x, same)
		gates := apply(affine(rows, w[0], b[0]), sigmoid)
		change := apply(affine(rows, w[1], b[1]), relu)
		want, mean := make([]float64, len(rows)), 0.0
		for i, g := range gates {
			want[i] = g*change[i] + (1-g)*rows[i]
			mean += g / float64(len(gates))
		}
		wantClose(t, "highway", forward(t, instance, x), want, 1e-5)
		if math.Abs(mean-sigmoid(bias)) > 0.02 {
			t.Errorf("gate bias %v: the gates start at %v", bias, mean)
		}
	}
}

func TestSqueezeExcitationGatesThroughItsBottleneck(t *testing.T) {
	for reduction, bottleneck := range map[float64]int{4: 8, 10: 3, 16: 2} {
		c := compile(t, find(t, "squeeze_excitation"), map[string]float64{"reduction": reduction})
		if want := 2*32*bottleneck + bottleneck + 32; c.ParameterCount != want {
			t.Errorf("reduction %v: %d parameters, want %d", reduction, c.ParameterCount, want)
		}
		instance := instantiate(t, c)
		x := sample(5, 32)
		w, b, rows := parameters(instance, "weight"), parameters(instance, "bias"), each(x, same)
		squeezed := apply(affine(rows, w[0], b[0]), relu)
		want := apply(affine(squeezed, w[1], b[1]), sigmoid)
		for i, v := range rows {
			want[i] *= 2 * v
		}
		wantClose(t, "squeeze excitation", forward(t, instance, x), want, 1e-5)
		set(w[1], 0)
		wantClose(t, "zero logits", forward(t, instance, x), rows, 0)
	}
}

func TestGatedFeedForwardOfItsWidth(t *testing.T) {
	for multiple, hidden := range map[float64]int{2: 64, 3.3: 106, 6: 192} {
		c := compile(t, find(t, "feedforward_gated"), map[string]float64{"hidden_multiple": multiple})
		if want := 2*(32*hidden+hidden) + hidden*32 + 32; c.ParameterCount != want {
			t.Errorf("multiple %v: %d parameters, want %d", multiple, c.ParameterCount, want)
		}
		instance := instantiate(t, c)
		x := sample(5, 32)
		w, b, rows := parameters(instance, "weight"), parameters(instance, "bias"), each(x, same)
		gate, value := affine(rows, w[0], b[0]), affine(rows, w[1], b[1])
		for i, g := range gate {
			value[i] *= g * sigmoid(g)
		}
		wantClose(t, "gated", forward(t, instance, x), plus(rows, affine(value, w[2], b[2]), 1), 1e-5)
	}
}

func TestMemoryReadsFromItsSlots(t *testing.T) {
	for slots, want := range map[float64]int{32: 32, 80: 80, 128: 128} {
		c := compile(t, find(t, "memory_augmented"), map[string]float64{"memory_slots": slots})
		if c.ParameterCount != 32*32+32+2*32*want {
			t.Errorf("%v slots: %d parameters", slots, c.ParameterCount)
		}
		instance := instantiate(t, c)
		x := sample(5, 32)
		rows := each(x, same)
		query := affine(rows, parameters(instance, "weight")[0], parameters(instance, "bias")[0])
		scores := affine(query, parameters(instance, "keys")[0], nil)
		apply(scores, func(v float64) float64 { return v / math.Sqrt(32) })
		read := affine(softmaxRows(scores, want), parameters(instance, "values")[0], nil)
		wantClose(t, "memory", forward(t, instance, x), plus(rows, read, 1), 1e-5)
	}
}
