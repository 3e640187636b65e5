package graft_test

import (
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/trainer"
)

// unchanged is the way of a pass that meets no seed.
func unchanged(_ *kernel.Tape, host kernel.Value) (kernel.Value, error) { return host, nil }

// own is a mixing seed's output without a blend, computed by hand.
func (n *network) own(id string) pass {
	return func(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
		parameters := n.slot.Parameters(id)
		shape := host.Shape()
		shaped, err := t.Reshape(host, slices.Insert(slices.Clone(n.shape), 0, examples)...)
		if err != nil {
			return kernel.Value{}, err
		}
		product, err := t.MatMul(shaped, t.Parameter(parameters[0]))
		if err != nil {
			return kernel.Value{}, err
		}
		sum, err := t.Add(product, t.Parameter(parameters[1]))
		if err != nil {
			return kernel.Value{}, err
		}
		out, err := t.Tanh(sum)
		if err != nil {
			return kernel.Value{}, err
		}
		return t.Reshape(out, shape...)
	}
}

// gated is a confidence blend of a seed behind base, at the shares that its gate
// gives it now: what its gradient is to be of, for none flows through the gate.
func (n *network) gated(id string, blend trainer.Blend, share float64, base pass) pass {
	_, _, own := n.loss(kernel.NewTape(), behind(base, n.own(id)))
	shares := n.gates(own.Tensor(), blend, share)
	rest := shares.Clone()
	for i := range rest.Data {
		rest.Data[i] = 1 - rest.Data[i]
	}
	return behind(base, func(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
		own, err := n.own(id)(t, host)
		if err != nil {
			return kernel.Value{}, err
		}
		part, err := t.Mul(t.Constant(shares), own)
		if err != nil {
			return kernel.Value{}, err
		}
		left, err := t.Mul(t.Constant(rest), host)
		if err != nil {
			return kernel.Value{}, err
		}
		return t.Add(part, left)
	})
}

// gates are the shares of each element of a seed's output, worked out from the
// description of the protocol.
func (n *network) gates(own *kernel.Tensor, blend trainer.Blend, share float64) *kernel.Tensor {
	classes, positions := n.shape[0], 1
	for _, d := range n.shape[1:] {
		positions *= d
	}
	shares := own.Clone()
	for i := range shares.Data {
		first := i - i%(classes*positions) + i%positions // of the scores at this place
		scores := make([]float64, classes)
		for class := range scores {
			scores[class] = float64(own.Data[first+class*positions])
		}
		slices.Sort(scores)
		margin := scores[classes-1] - scores[classes-2]
		gate := 1 / (1 + math.Exp(-blend.GateK*(margin-blend.GateTau)))
		shares.Data[i] = float32(min(max(share*gate, blend.AlphaLow), blend.AlphaTop))
	}
	return shares
}

func behind(base, next pass) pass {
	return func(t *kernel.Tape, host kernel.Value) (kernel.Value, error) {
		out, err := base(t, host)
		if err != nil {
			return kernel.Value{}, err
		}
		return next(t, out)
	}
}

func checkSame(t interface{ Fatalf(string, ...any) }, n *network, way pass, out kernel.Value) {
	_, _, want := n.loss(kernel.NewTape(), way)
	for i, got := range out.Tensor().Data {
		if expected := want.Tensor().Data[i]; math.Abs(float64(got-expected)) > 1e-5*max(1, math.Abs(float64(expected))) {
			t.Fatalf("element %d is %v, worked out it is %v", i, got, expected)
		}
	}
}
