// Package adam moves the parameters of kernels along their gradients.
package adam

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
)

const (
	beta1   = 0.9
	beta2   = 0.999
	epsilon = 1e-8
)

// Optimizer is that of Kingma and Ba (2015), "Adam: A Method for Stochastic
// Optimization", with its published constants. It keeps its state by parameter:
// what a seed has gathered while it grew goes on when it is part of the network.
// The zero value is ready to use. It belongs to one goroutine.
type Optimizer struct {
	states map[*kernel.Parameter]*Moments
}

// Moments are the optimizer's state of one parameter: running means of its
// gradient and of the squared gradient, and the steps taken.
type Moments struct {
	Steps  int       `json:"steps"`
	First  []float64 `json:"first"`
	Second []float64 `json:"second"`
}

// ErrMoments is wrapped by Put for moments that are not of the parameter.
var ErrMoments = errors.New("moments do not fit the parameter")

// Step moves the parameters along their gradients at a learning rate, and clears
// the gradients.
func (a *Optimizer) Step(rate float64, parameters []*kernel.Parameter) {
	for _, parameter := range parameters {
		if parameter.Grad == nil {
			continue
		}
		a.of(parameter).apply(rate, parameter)
		parameter.ZeroGrad()
	}
}

func (a *Optimizer) of(parameter *kernel.Parameter) *Moments {
	state, ok := a.states[parameter]
	if !ok {
		size := len(parameter.Value.Data)
		state = &Moments{First: make([]float64, size), Second: make([]float64, size)}
		a.set(parameter, state)
	}
	return state
}

func (a *Optimizer) set(parameter *kernel.Parameter, state *Moments) {
	if a.states == nil {
		a.states = make(map[*kernel.Parameter]*Moments)
	}
	a.states[parameter] = state
}

func (m *Moments) apply(rate float64, parameter *kernel.Parameter) {
	m.Steps++
	correction1 := 1 - math.Pow(beta1, float64(m.Steps))
	correction2 := 1 - math.Pow(beta2, float64(m.Steps))
	rate *= math.Sqrt(correction2) / correction1
	for i, gradient := range parameter.Grad.Data {
		g := float64(gradient)
		m.First[i] = beta1*m.First[i] + (1-beta1)*g
		m.Second[i] = beta2*m.Second[i] + (1-beta2)*g*g
		parameter.Value.Data[i] -= float32(rate * m.First[i] / (math.Sqrt(m.Second[i]) + epsilon))
	}
}

// Get copies the states of parameters; nil stands for one that never moved.
func (a *Optimizer) Get(parameters []*kernel.Parameter) []*Moments {
	states := make([]*Moments, len(parameters))
	for i, parameter := range parameters {
		if state, ok := a.states[parameter]; ok {
			states[i] = state.clone()
		}
	}
	return states
}

// Put sets the states of parameters to copies of those that Get gave.
func (a *Optimizer) Put(parameters []*kernel.Parameter, states []*Moments) error {
	if len(states) != len(parameters) {
		return fmt.Errorf("%w: %d states for %d parameters", ErrMoments, len(states), len(parameters))
	}
	for i, state := range states {
		if state != nil && !state.fits(parameters[i]) {
			return fmt.Errorf("%w: %s", ErrMoments, parameters[i].Name)
		}
	}
	a.Forget(parameters)
	for i, state := range states {
		if state != nil {
			a.set(parameters[i], state.clone())
		}
	}
	return nil
}

// Forget drops the states of parameters that are gone.
func (a *Optimizer) Forget(parameters []*kernel.Parameter) {
	for _, parameter := range parameters {
		delete(a.states, parameter)
	}
}

func (m *Moments) clone() *Moments {
	return &Moments{Steps: m.Steps, First: slices.Clone(m.First), Second: slices.Clone(m.Second)}
}

func (m *Moments) fits(parameter *kernel.Parameter) bool {
	size := len(parameter.Value.Data)
	return m.Steps >= 0 && len(m.First) == size && len(m.Second) == size
}
