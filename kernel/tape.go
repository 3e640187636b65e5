package kernel

import (
	"fmt"
	"slices"
)

// Tape records operations so that Backward can run them in reverse. Reset
// keeps the buffers: a step that repeats the same operations reuses them. A
// tape belongs to one goroutine.
type Tape struct {
	nodes []*node
	used  int
	epoch uint64
}

// node is one recorded value: what it holds, what it was made from, and how
// its gradient flows back.
type node struct {
	value  Tensor
	grad   Tensor
	hasGrd bool
	leaf   *Parameter
	in     []*node
	back   func(n *node)

	buffer  []float32 // owned storage behind value, kept across Reset
	gbuffer []float32 // owned storage behind grad, kept across Reset
	saved   []float32 // what the backward pass needs besides inputs and value
	ints    []int
	scalars [2]float32
	unary   *unary
	binary  *binary
}

// Value is a handle to one recorded tensor. The zero Value stands for "none"
// where an operand is optional.
type Value struct {
	tape  *Tape
	index int
	epoch uint64
}

// NewTape returns an empty tape.
func NewTape() *Tape { return &Tape{epoch: 1} }

// Reset forgets every recorded value and keeps the buffers. Values and tensors
// taken from the tape before are no longer valid.
func (t *Tape) Reset() {
	t.used = 0
	t.epoch++
}

// Constant records a tensor that never has a gradient. The data is shared.
func (t *Tape) Constant(x *Tensor) Value {
	n, v := t.next()
	n.share(x)
	return v
}

// Input records a tensor whose gradient Backward computes and Grad returns.
// The data is shared.
func (t *Tape) Input(x *Tensor) Value {
	n, v := t.next()
	n.share(x)
	n.allocGrad()
	return v
}

// Parameter records p; Backward adds to p.Grad, which is made when absent.
func (t *Tape) Parameter(p *Parameter) Value {
	n, v := t.next()
	n.share(p.Value)
	if p.Grad == nil || !slices.Equal(p.Grad.Shape, p.Value.Shape) {
		p.Grad = NewTensor(p.Value.Shape...)
	}
	n.leaf, n.hasGrd = p, true
	n.grad = *p.Grad
	return v
}

// Detach returns a value with the same data and no storage for a gradient:
// what is computed from it cannot reach what v was computed from. A value that
// is not of this tape gives a zero Value, which every operation refuses.
func (t *Tape) Detach(v Value) Value {
	src, err := t.node(v)
	if err != nil {
		return Value{}
	}
	n, out := t.next()
	n.share(&src.value)
	return out
}

// Tensor is the value's data, owned by the tape until Reset; nil for a handle
// that is no longer valid.
func (v Value) Tensor() *Tensor {
	if v.tape == nil {
		return nil
	}
	n, err := v.tape.node(v)
	if err != nil {
		return nil
	}
	return &n.value
}

// Grad is the derivative of the last Backward's loss by this value; nil when
// the value has no storage for one.
func (v Value) Grad() *Tensor {
	if v.tape == nil {
		return nil
	}
	n, err := v.tape.node(v)
	if err != nil || !n.hasGrd {
		return nil
	}
	return &n.grad
}

// Shape is the shape of the value's tensor.
func (v Value) Shape() []int {
	if x := v.Tensor(); x != nil {
		return x.Shape
	}
	return nil
}

// Valid reports whether the handle still refers to a recorded value.
func (v Value) Valid() bool { return v.Tensor() != nil }

func (t *Tape) node(v Value) (*node, error) {
	if v.tape != t || v.epoch != t.epoch || v.index >= t.used {
		return nil, ErrValue
	}
	return t.nodes[v.index], nil
}

// next takes the next node, cleared but for its buffers.
func (t *Tape) next() (*node, Value) {
	if t.used == len(t.nodes) {
		t.nodes = append(t.nodes, &node{})
	}
	n := t.nodes[t.used]
	n.value, n.grad, n.hasGrd, n.leaf, n.back = Tensor{}, Tensor{}, false, nil, nil
	n.in, n.ints, n.unary, n.binary = n.in[:0], n.ints[:0], nil, nil
	v := Value{tape: t, index: t.used, epoch: t.epoch}
	t.used++
	return n, v
}

// operands resolves the inputs of op.
func (t *Tape) operands(op string, values ...Value) ([]*node, error) {
	nodes := make([]*node, len(values))
	for i, v := range values {
		n, err := t.node(v)
		if err != nil {
			return nil, fmt.Errorf("%s: operand %d: %w", op, i, err)
		}
		if !n.value.valid() {
			return nil, shapeError(op, "operand %d holds %d elements, shape %v", i, len(n.value.Data), n.value.Shape)
		}
		nodes[i] = n
	}
	return nodes, nil
}
