package main

import (
	"math"
	"math/rand/v2"

	"github.com/esper-lite/weatherlight/kernel"
)

// hostSizes are inputs, width of the hidden layer and classes. The reference
// trainer's own host is 64-16-10.
type hostSizes struct{ inputs, width, classes int }

// steps are how many make up a run of about a second.
func (s hostSizes) steps() int {
	if s.inputs > 100 {
		return 300
	}
	return 3000
}

// host trains as the reference trainer does: two dense layers, relu between them,
// and Adam.
type host struct {
	sizes      hostSizes
	tape       *kernel.Tape
	batch      *kernel.Tensor
	labels     []int
	parameters []*kernel.Parameter
	states     map[*kernel.Parameter]*moments
}

func newHost(sizes hostSizes) *host {
	rng := rand.New(rand.NewPCG(1, 1))
	h := &host{
		sizes: sizes, tape: kernel.NewTape(), states: make(map[*kernel.Parameter]*moments),
		batch: randomTensor(rng, batchRows, sizes.inputs), labels: make([]int, batchRows),
	}
	for _, shape := range [][]int{{sizes.inputs, sizes.width}, {sizes.width}, {sizes.width, sizes.classes}, {sizes.classes}} {
		h.parameters = append(h.parameters, kernel.NewParameter("p", randomTensor(rng, shape...)))
	}
	for i := range h.labels {
		h.labels[i] = i % sizes.classes
	}
	return h
}

// train is one step: forward, with what is at the slot, backward, what a graft does
// then, and the optimizer over learning. The head of a host that rests is constant.
func (h *host) train(learning []*kernel.Parameter, rests bool, slot func(kernel.Value) (kernel.Value, error), after func()) error {
	h.tape.Reset()
	hidden, err := h.dense(h.tape.Constant(h.batch), 0, false)
	if err != nil {
		return err
	}
	active, err := h.tape.Relu(hidden)
	if err != nil {
		return err
	}
	if active, err = slot(active); err != nil {
		return err
	}
	logits, err := h.dense(active, 2, rests)
	if err != nil {
		return err
	}
	loss, err := h.tape.SoftmaxCrossEntropy(logits, h.labels)
	if err != nil {
		return err
	}
	if err := h.tape.Backward(loss); err != nil {
		return err
	}
	after()
	h.optimize(learning)
	if rests {
		zero(h.parameters)
	}
	return nil
}

// dense applies the layer of which a parameter is the weight.
func (h *host) dense(x kernel.Value, weight int, rests bool) (kernel.Value, error) {
	record := h.tape.Parameter
	if rests {
		record = func(p *kernel.Parameter) kernel.Value { return h.tape.Constant(p.Value) }
	}
	product, err := h.tape.MatMul(x, record(h.parameters[weight]))
	if err != nil {
		return kernel.Value{}, err
	}
	return h.tape.Add(product, record(h.parameters[weight+1]))
}

// moments are Adam's of one parameter.
type moments struct {
	steps         float64
	first, second []float64
}

func (h *host) optimize(learning []*kernel.Parameter) {
	for _, p := range learning {
		m := h.states[p]
		if m == nil {
			m = &moments{first: make([]float64, p.Value.Size()), second: make([]float64, p.Value.Size())}
			h.states[p] = m
		}
		m.move(p)
	}
	zero(learning)
}

// move takes a step so small that the network stays as it is for the whole
// measurement.
func (m *moments) move(p *kernel.Parameter) {
	const rate, beta1, beta2 = 1e-9, 0.9, 0.999
	m.steps++
	scaled := rate * math.Sqrt(1-math.Pow(beta2, m.steps)) / (1 - math.Pow(beta1, m.steps))
	for i, gradient := range p.Grad.Data {
		g := float64(gradient)
		m.first[i] = beta1*m.first[i] + (1-beta1)*g
		m.second[i] = beta2*m.second[i] + (1-beta2)*g*g
		p.Value.Data[i] -= float32(scaled * m.first[i] / (math.Sqrt(m.second[i]) + 1e-8))
	}
}

func zero(parameters []*kernel.Parameter) {
	for _, p := range parameters {
		p.ZeroGrad()
	}
}
