package kernel

import (
	"maps"
	"math"
	"slices"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// operator is one entry of the closed list: what a node may look like, and how
// to check and bind it.
type operator struct {
	inputs     arity
	required   int // inputs from here on may be left out by an empty name
	outputs    arity
	ints       []int // inputs that are int64 initialisers
	bools      []int // inputs that are truth values; all others are float32
	truth      bool  // whether the output is truth values
	indices    bool  // whether int64 inputs may be arrays of any shape and length
	attributes []attribute
	bind       func(b *binding) (apply, error)
}

type arity struct{ least, most int }

func (a arity) holds(n int) bool { return n >= a.least && n <= a.most }

type attribute struct {
	name string
	kind int32
}

// binding is one node while it is checked: a bind function reads inputs and
// attributes, sets the output shapes and the cost, and returns what runs it.
type binding struct {
	in         []*slot // nil where an optional input is left out
	attributes []*onnxpb.AttributeProto
	out        [][]int
	cost       int64 // multiply-adds of one row
	visits     int64 // elements that a window visits for one row
	scratch    int64 // elements that the operator needs besides its outputs
}

var (
	one        = arity{1, 1}
	two        = arity{2, 2}
	onlyAxis   = []attribute{{"axis", attrInt}}
	pooling    = []attribute{{"kernel_shape", attrInts}, {"pads", attrInts}, {"strides", attrInts}}
	reductions = []attribute{{"axes", attrInts}, {"keepdims", attrInt}}
)

// operators is the profile's list. It is only ever looked up by name.
var operators = map[string]operator{
	"Identity": {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Identity)},
	"Neg":      {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Neg)},
	"Abs":      {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Abs)},
	"Sqrt":     {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Sqrt)},
	"Exp":      {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Exp)},
	"Relu":     {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Relu)},
	"Sigmoid":  {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Sigmoid)},
	"Tanh":     {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Tanh)},
	"Erf":      {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Erf)},
	"Sin":      {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Sin)},
	"Cos":      {inputs: one, required: 1, outputs: one, bind: pointwiseBinder((*Tape).Cos)},
	"Clip":     {inputs: arity{1, 3}, required: 1, outputs: one, bind: bindClip},
	"Dropout": {inputs: arity{1, 2}, required: 1, outputs: one, bind: bindDropout,
		attributes: []attribute{{"seed", attrInt}}},

	"Add": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Add)},
	"Sub": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Sub)},
	"Mul": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Mul)},
	"Div": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Div)},
	"Pow": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Pow)},
	"Max": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Max)},
	"Min": {inputs: two, required: 2, outputs: one, bind: pairwiseBinder((*Tape).Min)},

	"Greater": {inputs: two, required: 2, outputs: one, truth: true, bind: pairwiseBinder((*Tape).Greater)},
	"Less":    {inputs: two, required: 2, outputs: one, truth: true, bind: pairwiseBinder((*Tape).Less)},
	"Equal":   {inputs: two, required: 2, outputs: one, truth: true, bind: pairwiseBinder((*Tape).Equal)},
	"And": {inputs: two, required: 2, outputs: one, bools: []int{0, 1}, truth: true,
		bind: pairwiseBinder((*Tape).And)},
	"Or": {inputs: two, required: 2, outputs: one, bools: []int{0, 1}, truth: true,
		bind: pairwiseBinder((*Tape).Or)},
	"Not":   {inputs: one, required: 1, outputs: one, bools: []int{0}, truth: true, bind: pointwiseBinder((*Tape).Not)},
	"Where": {inputs: arity{3, 3}, required: 3, outputs: one, bools: []int{0}, bind: bindWhere},

	"Conv": {inputs: arity{2, 3}, required: 2, outputs: one, bind: bindConv, attributes: []attribute{
		{"dilations", attrInts}, {"group", attrInt}, {"kernel_shape", attrInts}, {"pads", attrInts},
		{"strides", attrInts}}},
	"MaxPool": {inputs: one, required: 1, outputs: one, bind: bindMaxPool, attributes: pooling},
	"AveragePool": {inputs: one, required: 1, outputs: one, bind: bindAveragePool,
		attributes: append([]attribute{{"count_include_pad", attrInt}}, pooling...)},

	"MatMul": {inputs: two, required: 2, outputs: one, bind: bindMatMul},
	"Gemm": {inputs: arity{2, 3}, required: 2, outputs: one, bind: bindGemm, attributes: []attribute{
		{"alpha", attrFloat}, {"beta", attrFloat}, {"transA", attrInt}, {"transB", attrInt}}},

	"Softmax": {inputs: one, required: 1, outputs: one, bind: bindSoftmax, attributes: onlyAxis},
	"LayerNormalization": {inputs: arity{2, 3}, required: 2, outputs: one, bind: bindLayerNorm,
		attributes: []attribute{{"axis", attrInt}, {"epsilon", attrFloat}, {"stash_type", attrInt}}},
	"BatchNormalization": {inputs: arity{5, 5}, required: 5, outputs: one, bind: bindBatchNorm,
		attributes: []attribute{{"epsilon", attrFloat}, {"momentum", attrFloat}, {"training_mode", attrInt}}},
	"ReduceMean": {inputs: one, required: 1, outputs: one, bind: reduceBinder((*Tape).ReduceMean),
		attributes: reductions},
	"ReduceMax": {inputs: one, required: 1, outputs: one, bind: reduceBinder((*Tape).ReduceMax),
		attributes: reductions},
	"ReduceSum": {inputs: arity{1, 2}, required: 1, outputs: one, ints: []int{1},
		bind: reduceBinder((*Tape).ReduceSum), attributes: []attribute{{"keepdims", attrInt}}},
	"GlobalAveragePool": {inputs: one, required: 1, outputs: one, bind: bindGlobalAveragePool},

	"Concat": {inputs: arity{1, maxOperands}, required: maxOperands, outputs: one, bind: bindConcat,
		attributes: onlyAxis},
	"Split": {inputs: arity{1, 2}, required: 1, outputs: arity{1, maxOperands}, ints: []int{1}, bind: bindSplit,
		attributes: onlyAxis},
	"Slice": {inputs: arity{3, 5}, required: 3, outputs: one, ints: []int{1, 2, 3, 4}, bind: bindSlice},
	"Reshape": {inputs: two, required: 2, outputs: one, ints: []int{1}, bind: bindReshape,
		attributes: []attribute{{"allowzero", attrInt}}},
	"Flatten":   {inputs: one, required: 1, outputs: one, bind: bindFlatten, attributes: onlyAxis},
	"Squeeze":   {inputs: two, required: 2, outputs: one, ints: []int{1}, bind: bindSqueeze},
	"Unsqueeze": {inputs: two, required: 2, outputs: one, ints: []int{1}, bind: bindUnsqueeze},
	"Transpose": {inputs: one, required: 1, outputs: one, bind: bindTranspose,
		attributes: []attribute{{"perm", attrInts}}},
	"Gather": {inputs: two, required: 2, outputs: one, ints: []int{1}, indices: true, bind: bindGather,
		attributes: onlyAxis},
	"Expand": {inputs: two, required: 2, outputs: one, ints: []int{1}, bind: bindExpand},
	"Pad":    {inputs: arity{2, 3}, required: 2, outputs: one, ints: []int{1}, bind: bindPad},
}

// Profile lists the operators that a kernel may use, sorted.
func Profile() []string { return slices.Sorted(maps.Keys(operators)) }

// shape is the shape of input i.
func (b *binding) shape(i int) []int { return b.in[i].shape }

// has reports whether optional input i is given.
func (b *binding) has(i int) bool { return i < len(b.in) && b.in[i] != nil }

func (b *binding) attribute(name string) *onnxpb.AttributeProto {
	for _, a := range b.attributes {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// int is an integer attribute within the range of a dimension.
func (b *binding) int(name string, absent int) (int, error) {
	a := b.attribute(name)
	if a == nil {
		return absent, nil
	}
	if a.I < -maxDim || a.I > maxDim {
		return 0, refuse("attribute %q is %d", name, a.I)
	}
	return int(a.I), nil
}

// axis is the attribute "axis", counted from the start.
func (b *binding) axis(absent, rank int) (int, error) {
	value, err := b.int("axis", absent)
	if err != nil {
		return 0, err
	}
	axis, ok := resolveAxis(value, rank)
	if !ok {
		return 0, refuse("axis %d of %d dimensions", value, rank)
	}
	return axis, nil
}

// flag is an attribute that is 0 or 1.
func (b *binding) flag(name string, absent int) (bool, error) {
	value, err := b.int(name, absent)
	if err == nil && value != 0 && value != 1 {
		err = refuse("attribute %q is %d, allowed are 0 and 1", name, value)
	}
	return value == 1, err
}

// float is a finite float attribute.
func (b *binding) float(name string, absent float32) (float32, error) {
	a := b.attribute(name)
	if a == nil {
		return absent, nil
	}
	if v := float64(a.F); math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, refuse("attribute %q is not finite", name)
	}
	return a.F, nil
}

// list is a list attribute within the range of a dimension.
func (b *binding) list(name string) ([]int, error) {
	a := b.attribute(name)
	if a == nil {
		return nil, nil
	}
	list := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		if v < -maxDim || v > maxDim {
			return nil, refuse("attribute %q holds %d", name, v)
		}
		list[i] = int(v)
	}
	return list, nil
}

// constant is a float input that must be a scalar constant; it is not trained.
func (b *binding) constant(i int, absent float32) (float32, error) {
	if !b.has(i) {
		return absent, nil
	}
	s := b.in[i]
	if s.value == nil || s.kind != floats || len(s.shape) != 0 {
		return 0, refuse("input %q must be a constant scalar", s.name)
	}
	s.frozen = true
	return s.value.Data[0], nil
}

// yields sets the only output's shape.
func (b *binding) yields(shape []int) { b.out[0] = shape }
