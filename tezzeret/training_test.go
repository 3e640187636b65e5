package tezzeret_test

import (
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

// step runs the kernel as a classifier of 32 classes, and leaves the gradients
// of its loss in the parameters.
func step(t *testing.T, instance *kernel.Instance, x *kernel.Tensor, labels []int) float64 {
	t.Helper()
	for _, p := range instance.Parameters() {
		p.ZeroGrad()
	}
	tape := kernel.NewTape()
	logits, err := instance.Forward(tape, tape.Constant(x))
	if err != nil {
		t.Fatal(err)
	}
	loss, err := tape.SoftmaxCrossEntropy(logits, labels)
	if err != nil {
		t.Fatal(err)
	}
	if err := tape.Backward(loss); err != nil {
		t.Fatal(err)
	}
	return float64(loss.Tensor().Data[0])
}

func classes(rows int) []int {
	labels := make([]int, rows)
	for i := range labels {
		labels[i] = i * 5 % 32
	}
	return labels
}

func TestGradientsReachEveryParameter(t *testing.T) {
	x, labels := sample(64, 32), classes(64)
	for _, d := range compilable() {
		instance := instantiate(t, compile(t, d, nil))
		step(t, instance, x, labels)
		for _, p := range instance.Parameters() {
			largest := 0.0
			for _, g := range p.Grad.Data {
				largest = math.Max(largest, math.Abs(float64(g)))
			}
			if largest == 0 || math.IsNaN(largest) || math.IsInf(largest, 0) {
				t.Errorf("%s: largest gradient of %s is %v", d.GetName(), p.Name, largest)
			}
		}
	}
}

func TestGradientDescentLowersTheLoss(t *testing.T) {
	x, labels := sample(64, 32), classes(64)
	for _, d := range compilable() {
		instance := instantiate(t, compile(t, d, nil))
		if len(instance.Parameters()) == 0 {
			continue
		}
		first := step(t, instance, x, labels)
		last := first
		for range 20 {
			for _, p := range instance.Parameters() {
				for i, g := range p.Grad.Data {
					p.Value.Data[i] -= 0.05 * g
				}
			}
			last = step(t, instance, x, labels)
		}
		if last >= first || math.IsNaN(last) {
			t.Errorf("%s: loss %v, after 20 steps %v", d.GetName(), first, last)
		}
	}
}

// A blend starts gently when the seed starts near the identity. The exceptions
// are not the identity by their names.
func TestSeedsStartNearTheIdentity(t *testing.T) {
	different := map[string]bool{
		"linear_projection": true, "layer_norm_basic": true, "gelu_activation": true,
		"pooling_max": true,
	}
	x := sample(64, 32)
	for i, v := range x.Data {
		x.Data[i] = float32(math.Abs(float64(v))) // what a host layer with ReLU gives
	}
	for _, d := range compilable() {
		if different[d.GetName()] {
			continue
		}
		y := forward(t, instantiate(t, compile(t, d, nil)), x)
		difference, norm := 0.0, 0.0
		for i, v := range x.Data {
			delta := float64(y.Data[i] - v)
			difference += delta * delta
			norm += float64(v) * float64(v)
		}
		if share := math.Sqrt(difference / norm); share > 0.25 {
			t.Errorf("%s starts %.2f away from its input", d.GetName(), share)
		}
	}
}

func TestOutputsAreFiniteForLargeInputs(t *testing.T) {
	x := sample(8, 32)
	for i := range x.Data {
		x.Data[i] *= 1000
	}
	for _, d := range compilable() {
		for i, v := range forward(t, instantiate(t, compile(t, d, nil)), x).Data {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				t.Errorf("%s: element %d is %v", d.GetName(), i, v)
				break
			}
		}
	}
}
