package tezzeret_test

import (
	"math"
	"testing"

	"github.com/esper-lite/weatherlight/kernel"
)

func TestSkipConnectionIsInputPlusALinearBranch(t *testing.T) {
	instance := instantiate(t, compile(t, find(t, "skip_connection"), nil))
	x := sample(5, 32)
	rows := each(x, same)
	branch := affine(rows, parameters(instance, "weight")[0], parameters(instance, "bias")[0])
	wantClose(t, "skip", forward(t, instance, x), plus(rows, branch, 1), 1e-5)
}

func TestResidualBlockOfItsDepth(t *testing.T) {
	for depth, want := range map[float64]int{1: 1, 2.4: 2, 2.5: 3, 4: 4} {
		c := compile(t, find(t, "residual_block"), map[string]float64{"depth": depth})
		if c.ParameterCount != want*2*(32*32+32) {
			t.Errorf("depth %v: %d parameters", depth, c.ParameterCount)
		}
		instance := instantiate(t, c)
		x := sample(5, 32)
		w, b, h := parameters(instance, "weight"), parameters(instance, "bias"), each(x, same)
		for k := range want {
			hidden := apply(affine(h, w[2*k], b[2*k]), relu)
			h = plus(h, affine(hidden, w[2*k+1], b[2*k+1]), 1)
		}
		wantClose(t, "residual", forward(t, instance, x), h, 1e-5)
	}
}

func TestRecursiveProcessingReusesItsWeights(t *testing.T) {
	for depth := 2; depth <= 6; depth++ {
		c := compile(t, find(t, "recursive_processing"), map[string]float64{"depth": float64(depth)})
		if c.ParameterCount != 3*(32*32+32) {
			t.Errorf("depth %d: %d parameters", depth, c.ParameterCount)
		}
		instance := instantiate(t, c)
		x := sample(5, 32)
		w, b := parameters(instance, "weight"), parameters(instance, "bias")
		rows := each(x, same)
		// In the order of the file: state, injected, last.
		injected, h := affine(rows, w[1], b[1]), rows
		for range depth {
			mixed := apply(plus(affine(h, w[0], b[0]), injected, 1), math.Tanh)
			h = plus(h, affine(mixed, w[2], b[2]), 1)
		}
		wantClose(t, "recursive", forward(t, instance, x), h, 1e-5)
	}
}

// flow integrates the block's equation with the given weights and many steps.
func flow(x []float64, w, b []*kernel.Tensor, steps int) []float64 {
	slope := func(h []float64) []float64 {
		return affine(apply(affine(h, w[0], b[0]), math.Tanh), w[1], b[1])
	}
	for range steps {
		middle := plus(x, slope(x), 0.5/float64(steps))
		x = plus(x, slope(middle), 1/float64(steps))
	}
	return x
}

func TestNeuralODEApproachesTheFlowWithMoreSteps(t *testing.T) {
	x := sample(5, 32)
	var previous float64
	for _, steps := range []float64{1, 3, 10} {
		instance := instantiate(t, compile(t, find(t, "neural_ode_block"), map[string]float64{"steps": steps}))
		w, b := parameters(instance, "weight"), parameters(instance, "bias")
		// Strong weights, the same for each number of steps.
		for k, strong := range []*kernel.Tensor{sample(32, 32), sample(33, 32)} {
			for i := range w[k].Data {
				w[k].Data[i] = strong.Data[i] / 5
			}
		}
		y := forward(t, instance, x)
		wantClose(t, "midpoint rule", y, flow(each(x, same), w, b, int(steps)), 1e-4)
		distance := 0.0
		for i, exact := range flow(each(x, same), w, b, 500) {
			distance = math.Max(distance, math.Abs(float64(y.Data[i])-exact))
		}
		if previous != 0 && distance > previous/2 {
			t.Errorf("%v steps: %v from the flow, before %v", steps, distance, previous)
		}
		previous = distance
	}
}
