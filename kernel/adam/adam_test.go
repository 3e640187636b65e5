package adam

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func TestAdamTakesItsPublishedFirstStep(t *testing.T) {
	t.Parallel()
	parameter := kernel.NewParameter("p", kernel.FromSlice([]float32{1, -2, 3}, 3))
	copy(parameter.Grad.Data, []float32{0.5, -4, 0})
	var steps Optimizer
	steps.Step(0.1, []*kernel.Parameter{parameter})
	// The first step is the rate against the gradient's sign, whatever its size.
	for i, want := range []float64{0.9, -1.9, 3} {
		if got := float64(parameter.Value.Data[i]); math.Abs(got-want) > 1e-6 {
			t.Errorf("element %d is %v, want %v", i, got, want)
		}
	}
	if slices.Max(parameter.Grad.Data) != 0 {
		t.Errorf("gradients left: %v", parameter.Grad.Data)
	}
}

func TestMomentsOfAnotherParameterAreRefused(t *testing.T) {
	t.Parallel()
	small := []*kernel.Parameter{kernel.NewParameter("small", kernel.NewTensor(2))}
	large := []*kernel.Parameter{kernel.NewParameter("large", kernel.NewTensor(3))}
	var steps Optimizer
	steps.Step(0.1, small)
	states := steps.Get(small)
	if err := steps.Put(large, states); !errors.Is(err, ErrMoments) {
		t.Errorf("Put of another size = %v", err)
	}
	if err := steps.Put(small, nil); !errors.Is(err, ErrMoments) {
		t.Errorf("Put of nothing = %v", err)
	}
	if err := steps.Put(small, []*Moments{nil}); err != nil || steps.Get(small)[0] != nil {
		t.Errorf("Put of a state that never moved = %v, then %v", err, steps.Get(small))
	}
}
