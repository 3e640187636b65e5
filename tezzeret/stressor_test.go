package tezzeret_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// stress compiles a stressor for 32 features, and returns its output on x and
// the gradient that reaches x when that of every output is one.
func stress(t *testing.T, name string, params map[string]float64, x *kernel.Tensor) (y, gradient *kernel.Tensor) {
	t.Helper()
	at := slices.IndexFunc(stressors(), func(d *leyline.BlueprintDescriptor) bool { return d.GetName() == name })
	c := compile(t, stressors()[at], params)
	tape := kernel.NewTape()
	input := tape.Input(x)
	out, err := instantiate(t, c).Forward(tape, input)
	if err != nil {
		t.Fatal(err)
	}
	y = out.Tensor().Clone()
	loss, err := tape.ReduceMean(out, false, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
	gradient = input.Grad().Clone()
	for i := range gradient.Data {
		gradient.Data[i] *= float32(len(gradient.Data))
	}
	return y, gradient
}

func TestExplodingGradientGrowsByTheFourthPowerOfItsScale(t *testing.T) {
	x := sample(5, 32)
	for _, scale := range []float64{5, 12.5, 20} {
		y, gradient := stress(t, "exploding_gradient", map[string]float64{"scale": scale}, x)
		factor := math.Pow(scale, 4)
		wantClose(t, "output", y, each(x, func(v float64) float64 { return factor * v }), 1e-5)
		wantClose(t, "gradient", gradient, each(x, func(float64) float64 { return factor }), 1e-5)
	}
}

func TestVanishingGradientShrinksByTheFourthPowerOfItsDecay(t *testing.T) {
	x := sample(5, 32)
	for _, decay := range []float64{0, 0.05, 0.1} {
		_, gradient := stress(t, "vanishing_gradient", map[string]float64{"decay": decay}, x)
		for _, g := range gradient.Data {
			if v := float64(g); v < 0 || v > math.Pow(decay, 4)*1.0001 || (v == 0) != (decay == 0) {
				t.Fatalf("decay %v: gradient %v", decay, v)
			}
		}
	}
}

func TestNaNInjectionPoisonsAShareOfItsFrequency(t *testing.T) {
	x := sample(2000, 32)
	for _, frequency := range []float64{0.01, 0.055, 0.1} {
		params := map[string]float64{"frequency": frequency}
		y, _ := stress(t, "nan_injection", params, x)
		again, _ := stress(t, "nan_injection", params, x)
		poisoned := 0
		for i, v := range y.Data {
			switch {
			case math.IsNaN(float64(v)):
				poisoned++
			case v != x.Data[i]:
				t.Fatalf("element %d is %v, want %v or NaN", i, v, x.Data[i])
			}
			if math.IsNaN(float64(v)) != math.IsNaN(float64(again.Data[i])) {
				t.Fatalf("element %d is poisoned in one run only", i)
			}
		}
		if share := float64(poisoned) / float64(len(x.Data)); math.Abs(share-frequency) > 0.15*frequency {
			t.Errorf("frequency %v: a share of %v is NaN", frequency, share)
		}
	}
}

func TestInfiniteLoopIsLongAndEnds(t *testing.T) {
	d := stressors()[3]
	for iterations, steps := range map[float64]int{1000: 25, 5500: 138, 10000: 250} {
		c := compile(t, d, map[string]float64{"iterations": iterations})
		loaded, err := kernel.Load(c.Artifact)
		if err != nil {
			t.Fatal(err)
		}
		if loaded.Nodes() != 3*steps || loaded.Nodes() > kernel.MaxNodes {
			t.Errorf("%v iterations: %d operators", iterations, loaded.Nodes())
		}
		instance, x := loaded.Instantiate(), sample(5, 32)
		rate := float64(instance.Parameters()[0].Value.Data[0])
		want := each(x, func(v float64) float64 {
			for range steps {
				v += rate * math.Sin(v)
			}
			return v
		})
		wantClose(t, "loop", forward(t, instance, x), want, 1e-4)
	}
}

func TestMemoryLeakHoldsCopiesAndReturnsItsInput(t *testing.T) {
	x := sample(5, 32)
	for _, rate := range []float64{1, 1.5, 5} {
		params := map[string]float64{"growth_rate": rate}
		y, _ := stress(t, "memory_leak", params, x)
		wantClose(t, "mean of copies", y, each(x, same), 1e-5)
		c := compile(t, stressors()[4], params)
		widest := 0
		for _, layer := range c.GraphMetadata["layers"].([]map[string]any) {
			if layer["type"] == "concat" {
				widest++
			}
		}
		if widest != 16 {
			t.Errorf("rate %v grows %d times", rate, widest)
		}
	}
}

func TestAdversarialNoiseIsBoundedByEpsilonAndRepeats(t *testing.T) {
	x := sample(200, 32)
	for _, epsilon := range []float64{0.1, 1} {
		params := map[string]float64{"epsilon": epsilon}
		y, _ := stress(t, "adversarial_noise", params, x)
		again, _ := stress(t, "adversarial_noise", params, x)
		mean, square, largest := 0.0, 0.0, 0.0
		for i, v := range y.Data {
			noise := float64(v) - float64(x.Data[i])
			mean += noise / float64(len(y.Data))
			square += noise * noise / float64(len(y.Data))
			largest = math.Max(largest, math.Abs(noise))
		}
		// A wave of random phase has mean 0 and mean square 1/2.
		if largest > epsilon*1.00001 || math.Abs(mean) > 0.05*epsilon || math.Abs(square/epsilon/epsilon-0.5) > 0.05 {
			t.Errorf("epsilon %v: largest %v, mean %v, mean square %v", epsilon, largest, mean, square)
		}
		if !slices.Equal(y.Data, again.Data) {
			t.Error("the noise does not repeat")
		}
	}
}

func TestStressorsNeedAQuarantine(t *testing.T) {
	for _, d := range stressors() {
		id := d.GetBlueprintId()
		for name, config := range map[string]tezzeret.Config{"nothing": {}, "approval": {Approved: []string{id}}} {
			if err := tezzeret.NewCompiler(config).Compilable(d); err == nil {
				t.Errorf("%s compiles with %s", id, name)
			}
		}
		if _, err := tezzeret.NewCompiler(tezzeret.Config{Quarantine: []string{id}}).Compile(t.Context(), d, nil); err != nil {
			t.Error(err)
		}
	}
}

// Every declared parameter changes the network itself, not only its weights.
func TestEveryDeclaredParameterIsHonoured(t *testing.T) {
	for _, d := range slices.Concat(compilable(), stressors()) {
		for name, b := range d.GetAllowedParameters() {
			shapes := make(map[string]float64)
			for _, value := range []float64{b.GetMinValue(), b.GetMaxValue()} {
				params := tezzeret.Midpoints(d)
				params[name] = value
				c := compile(t, d, params)
				text := structure(t, c)
				if _, dup := shapes[text]; dup && c.ParameterCount > 0 && !trainsFrom(d.GetName()) {
					t.Errorf("%s: %s does nothing between %v and %v", d.GetName(), name, b.GetMinValue(), b.GetMaxValue())
				}
				shapes[text] = value
			}
		}
	}
}

// trainsFrom lists blueprints whose parameter sets where a value starts or how
// training goes on, not how the network is built; tests of their own hold them.
func trainsFrom(name string) bool {
	return slices.Contains([]string{
		"linear_projection", "layer_norm_basic", "batch_norm_1d", "layer_scaling", "highway_gate",
		"learned_positional", "differentiable_nas", "exploding_gradient", "vanishing_gradient",
		// Their parameter is in the constants or attributes of nodes of one shape.
		"temporal_conv", "dilated_conv", "graph_attention", "non_local_block",
	}, name)
}

// structure describes the operators and parameters of a kernel by size.
func structure(t *testing.T, c *tezzeret.Compiled) string {
	t.Helper()
	text := fmt.Sprint(len(c.GraphMetadata["layers"].([]map[string]any)), " ")
	for _, p := range instantiate(t, c).Parameters() {
		text += fmt.Sprint(p.Value.Shape)
	}
	return text
}
