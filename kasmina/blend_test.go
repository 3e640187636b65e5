package kasmina

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func TestAlphaGoldenVector(t *testing.T) {
	t.Parallel()
	schedule := DefaultAlphaSchedule()
	want := map[int]float64{
		0: 0.006693, 1: 0.010987, 5: 0.075858, 10: 0.5, 15: 0.924142, 20: 0.993307, 25: 0.999447,
	}
	for step, alpha := range want {
		if got := schedule.At(step); math.Abs(got-alpha) > 1e-6 {
			t.Errorf("alpha(%d) = %.6f, want %.6f", step, got, alpha)
		}
	}
}

func TestAlphaAtTheEdges(t *testing.T) {
	t.Parallel()
	if got := (AlphaSchedule{Steps: 0, Temperature: 2}).At(3); got != 1 {
		t.Errorf("a ramp without steps gives %v", got)
	}
	sharp := AlphaSchedule{Steps: 10, Temperature: 0}
	if low, high := sharp.At(4), sharp.At(6); low != 0 || high != 1 {
		t.Errorf("a ramp without temperature gives %v and %v", low, high)
	}
}

// blended runs one blend and a backward pass of the sum of its output.
func blended(t *testing.T, c BlendConfig, alpha float64, host, seed *kernel.Tensor) (out, hostGrad, seedGrad []float32) {
	t.Helper()
	tape := kernel.NewTape()
	h, s := tape.Input(host), tape.Input(seed)
	value, err := blend(tape, c, alpha, h, s)
	if err != nil {
		t.Fatal(err)
	}
	backwardSum(t, tape, value)
	return value.Tensor().Data, h.Grad().Data, s.Grad().Data
}

func backwardSum(t *testing.T, tape *kernel.Tape, value kernel.Value) {
	t.Helper()
	mean, err := tape.ReduceMean(value, false)
	if err == nil {
		mean, err = tape.Scale(mean, float32(value.Tensor().Size()))
	}
	if err == nil {
		err = tape.Backward(mean)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestBlendModes(t *testing.T) {
	t.Parallel()
	row := func(x ...float32) *kernel.Tensor { return kernel.FromSlice(x, 1, len(x)) }
	confidence := BlendConfig{Mode: BlendConfidence, GateK: 4, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9}
	tests := []struct {
		name       string
		config     BlendConfig
		alpha      float64
		host, seed *kernel.Tensor
		out, grad  []float32
	}{
		{"convex", BlendConfig{}, 0.3, row(1, 1), row(3, -1), []float32{1.6, 0.4}, []float32{0.3, 0.3}},
		{"convex full", BlendConfig{}, 1, row(1, 1), row(3, -1), []float32{3, -1}, []float32{1, 1}},
		{"convex none", BlendConfig{}, 0, row(1, 1), row(3, -1), []float32{1, 1}, []float32{0, 0}},
		{"alpha above one is clamped", BlendConfig{}, 7, row(1, 1), row(3, -1), []float32{3, -1}, []float32{1, 1}},
		{"unknown mode is convex", BlendConfig{Mode: "LINEAR"}, 0.5, row(0, 0), row(2, 4), []float32{1, 2},
			[]float32{0.5, 0.5}},
		{"residual", BlendConfig{Mode: BlendResidual}, 0.4, row(1), row(2), []float32{1.8}, []float32{0.4}},
		{"channel", BlendConfig{Mode: BlendChannel, Channels: []float32{0.2, 0.6, 1}}, 0.5,
			row(0, 0, 0), row(1, 1, 1), []float32{0.1, 0.3, 0.5}, []float32{0.1, 0.3, 0.5}},
		{"confidence", confidence, 0.5, kernel.NewTensor(2, 3),
			kernel.FromSlice([]float32{2, 1, -1, 0.1, 0.05, 0}, 2, 3),
			[]float32{0.9608, 0.4804, -0.4804, 0.0177, 0.0089, 0},
			[]float32{0.4804, 0.4804, 0.4804, 0.1772, 0.1772, 0.1772}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, hostGrad, seedGrad := blended(t, tt.config, tt.alpha, tt.host, tt.seed)
			near(t, "output", out, tt.out)
			near(t, "seed gradient", seedGrad, tt.grad)
			for _, g := range hostGrad {
				if g != 0 {
					t.Errorf("gradient %v reached the host", hostGrad)
				}
			}
		})
	}
}

func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > 1e-4 {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
}

func TestNaNNeverReplacesTheHost(t *testing.T) {
	t.Parallel()
	tape := kernel.NewTape()
	host, seed := tape.Constant(kernel.NewTensor(1, 2)), tape.Constant(kernel.NewTensor(1, 2))
	if _, err := blend(tape, BlendConfig{}, math.NaN(), host, seed); err == nil {
		t.Error("a NaN alpha was blended")
	}
	broken := tape.Constant(kernel.FromSlice([]float32{float32(math.NaN()), 0}, 1, 2))
	if _, err := blend(tape, BlendConfig{Mode: BlendConfidence, GateK: 4, AlphaTop: 1}, 0.5, host, broken); err == nil {
		t.Error("a NaN margin opened the gate")
	}
}

func TestBlendThatDoesNotFitIsAnErrorNotAConvexBlend(t *testing.T) {
	t.Parallel()
	tape := kernel.NewTape()
	two, three := tape.Constant(kernel.NewTensor(1, 2)), tape.Constant(kernel.NewTensor(1, 3))
	channels := BlendConfig{Mode: BlendChannel, Channels: []float32{1, 1, 1}}
	gate := BlendConfig{Mode: BlendConfidence}
	for name, err := range map[string]error{
		"channels":      secondOf(blend(tape, channels, 0.5, two, two)),
		"shapes":        secondOf(blend(tape, BlendConfig{}, 0.5, two, three)),
		"host too slim": gate.fits(slot{1, 8, 8}),
		"host vector":   channels.fits(slot{2}),
		"no slot":       new(BlendConfig).fits(nil),
	} {
		if !errors.Is(err, ErrBlendShape) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func secondOf(_ kernel.Value, err error) error { return err }

func TestConfidenceGateOfAMapIsThatOfEachPosition(t *testing.T) {
	t.Parallel()
	// Two channels of two positions: the margins are 1 and 4.
	gate, err := confidence(kernel.FromSlice([]float32{2, 5, 1, 1}, 1, 2, 2), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "gate", gate.Data, []float32{0.7311, 0.9820})
	if want := []int{1, 1, 2}; !slices.Equal(gate.Shape, want) {
		t.Errorf("the gate is %v, want %v", gate.Shape, want)
	}
	if _, err := confidence(kernel.NewTensor(1, 1, 3, 3), 4, 0.2); !errors.Is(err, ErrBlendShape) {
		t.Errorf("a single channel gave %v", err)
	}
}

func nan() float64 { return math.NaN() }
