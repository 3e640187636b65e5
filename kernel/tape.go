package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Tape records operations so that Backward can run them in reverse. Reset
// keeps the buffers: a step that repeats the same operations reuses them. A
// tape belongs to one goroutine.
type Tape struct {
	nodes []*node
	used  int
	epoch uint64
	rng   *rand.Rand // not nil in training mode
}

// node is one recorded value: what it holds, what it was made from, and how
// its gradient flows back.
type node struct {
	value   Tensor
	grad    Tensor
	hasGrad bool // whether grad has storage; without it no gradient can exist
	reached bool // whether the running Backward has come here
	leaf    bool // grad belongs to a Parameter and is never cleared here
	in      []*node
	back    func(n *node) // adds to the gradients of in; nil for a leaf

	dims       []int     // owned storage behind value.Shape
	buffer     []float32 // owned storage behind value.Data
	gradBuffer []float32 // owned storage behind grad.Data
	saved      []float32 // what back needs besides operands and value
	ints       []int
	scalars    [2]float32
	pointwise  *pointwise
	pairwise   *pairwise
	geometry   geometry
	groups     int
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
	n.allocateGrad()
	return v
}

// Parameter records p; Backward adds to p.Grad, which is made when absent.
func (t *Tape) Parameter(p *Parameter) Value {
	n, v := t.next()
	n.share(p.Value)
	if p.Grad == nil || !slices.Equal(p.Grad.Shape, p.Value.Shape) {
		p.Grad = NewTensor(p.Value.Shape...)
	}
	n.grad, n.hasGrad, n.leaf = *p.Grad, true, true
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
	if err != nil || !n.hasGrad {
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
	n.value, n.grad, n.hasGrad, n.leaf = Tensor{}, Tensor{}, false, false
	n.in, n.ints, n.back, n.pointwise, n.pairwise = n.in[:0], n.ints[:0], nil, nil, nil
	v := Value{tape: t, index: t.used, epoch: t.epoch}
	t.used++
	return n, v
}

// record takes the next node for op over operands, all checked. Its value is
// the caller's to allocate.
func (t *Tape) record(op string, operands ...Value) (*node, Value, error) {
	for i, v := range operands {
		if _, err := t.operand(op, i, v); err != nil {
			return nil, Value{}, err
		}
	}
	n, out := t.next()
	for _, v := range operands {
		n.in = append(n.in, t.nodes[v.index])
	}
	return n, out, nil
}

// operand resolves and checks one operand of op.
func (t *Tape) operand(op string, i int, v Value) (*node, error) {
	n, err := t.node(v)
	if err != nil {
		return nil, fmt.Errorf("%s: operand %d: %w", op, i, err)
	}
	if !n.value.valid() {
		return nil, shapeError(op, "operand %d has %d elements", i, len(n.value.Data))
	}
	return n, nil
}

// recordOptional records values and, when it is given, optional after them.
func (t *Tape) recordOptional(op string, optional Value, values ...Value) (*node, Value, error) {
	n, out, err := t.record(op, values...)
	if err != nil || optional == (Value{}) {
		return n, out, err
	}
	src, err := t.operand(op, len(values), optional)
	if err != nil {
		return nil, Value{}, err
	}
	n.in = append(n.in, src)
	return n, out, nil
}

// share makes x the node's value without a copy.
func (n *node) share(x *Tensor) { n.value = *x }

// allocate gives the node storage for a value of that shape, with whatever the
// buffer held before, and for a gradient when an operand has one.
func (n *node) allocate(shape ...int) {
	n.buffer = resize(n.buffer, sizeOf(shape))
	n.view(n.buffer, shape...)
}

// view makes data the node's value, and gives it storage for a gradient when
// an operand has one.
func (n *node) view(data []float32, shape ...int) {
	n.dims = append(n.dims[:0], shape...)
	n.value = Tensor{Shape: n.dims, Data: data}
	for _, src := range n.in {
		if src.hasGrad {
			n.allocateGrad()
			return
		}
	}
}

func (n *node) allocateGrad() {
	n.gradBuffer = resize(n.gradBuffer, len(n.value.Data))
	n.grad = Tensor{Shape: n.value.Shape, Data: n.gradBuffer}
	n.hasGrad = true
	clear(n.gradBuffer)
}

func resize(buffer []float32, size int) []float32 {
	if cap(buffer) < size {
		return make([]float32, size)
	}
	return buffer[:size]
}
