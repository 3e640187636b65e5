package tolaria

import (
	"math"

	"github.com/esper-lite/weatherlight/kernel"
)

const (
	adamBeta1   = 0.9
	adamBeta2   = 0.999
	adamEpsilon = 1e-8
)

// adam is the optimiser of Kingma and Ba (2015), "Adam: A Method for Stochastic
// Optimization", with its published constants. Its moments belong to the
// parameters it was made for.
type adam struct {
	parameters []*kernel.Parameter
	rate       float64
	step       int
	moments    []adamMoments
}

type adamMoments struct {
	first, second []float64
}

func newAdam(parameters []*kernel.Parameter, rate float64) *adam {
	optimizer := &adam{parameters: parameters, rate: rate, moments: make([]adamMoments, len(parameters))}
	for i, parameter := range parameters {
		size := parameter.Value.Size()
		optimizer.moments[i] = adamMoments{first: make([]float64, size), second: make([]float64, size)}
	}
	return optimizer
}

// Step moves the parameters along their gradients and clears the gradients.
func (a *adam) Step() {
	a.step++
	correction1 := 1 - math.Pow(adamBeta1, float64(a.step))
	correction2 := 1 - math.Pow(adamBeta2, float64(a.step))
	rate := a.rate * math.Sqrt(correction2) / correction1
	for i, parameter := range a.parameters {
		a.moments[i].apply(parameter, rate)
		parameter.ZeroGrad()
	}
}

func (m adamMoments) apply(parameter *kernel.Parameter, rate float64) {
	if parameter.Grad == nil {
		return
	}
	for j, gradient := range parameter.Grad.Data {
		g := float64(gradient)
		m.first[j] = adamBeta1*m.first[j] + (1-adamBeta1)*g
		m.second[j] = adamBeta2*m.second[j] + (1-adamBeta2)*g*g
		parameter.Value.Data[j] -= float32(rate * m.first[j] / (math.Sqrt(m.second[j]) + adamEpsilon))
	}
}

// gradientNorm is the Euclidean norm over all gradients of the parameters.
func gradientNorm(parameters []*kernel.Parameter) float64 {
	var sum float64
	for _, parameter := range parameters {
		if parameter.Grad == nil {
			continue
		}
		for _, gradient := range parameter.Grad.Data {
			sum += float64(gradient) * float64(gradient)
		}
	}
	return math.Sqrt(sum)
}
