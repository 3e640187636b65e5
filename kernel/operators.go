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
	required   int   // inputs from here on may be left out by an empty name; 0: from the least number on
	outputs    arity // the zero value: one
	ints       []int // inputs that are int64 initialisers
	bools      []int // inputs that are truth values; all others are float32
	truth      bool  // whether the output is truth values
	indices    bool  // whether int64 inputs may be arrays of any shape and length
	dear       bool  // whether an element takes a function, such as an exponential
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
// attributes, sets the output shapes and the cost, and returns what runs it. What
// is read badly is kept in err, which counts before what follows from it.
type binding struct {
	in         []*slot // nil where an optional input is left out
	attributes []*onnxpb.AttributeProto
	out        [][]int
	err        error // the first attribute or constant that is outside the profile
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
	"Identity": {inputs: one, bind: pointwiseBinder((*Tape).Identity)},
	"Neg":      {inputs: one, bind: pointwiseBinder((*Tape).Neg)},
	"Abs":      {inputs: one, bind: pointwiseBinder((*Tape).Abs)},
	"Sqrt":     {inputs: one, bind: pointwiseBinder((*Tape).Sqrt)},
	"Exp":      {inputs: one, dear: true, bind: pointwiseBinder((*Tape).Exp)},
	"Relu":     {inputs: one, bind: pointwiseBinder((*Tape).Relu)},
	"Sigmoid":  {inputs: one, dear: true, bind: pointwiseBinder((*Tape).Sigmoid)},
	"Tanh":     {inputs: one, dear: true, bind: pointwiseBinder((*Tape).Tanh)},
	"Erf":      {inputs: one, dear: true, bind: pointwiseBinder((*Tape).Erf)},
	"Sin":      {inputs: one, dear: true, bind: pointwiseBinder((*Tape).Sin)},
	"Cos":      {inputs: one, dear: true, bind: pointwiseBinder((*Tape).Cos)},
	"Clip":     {inputs: arity{1, 3}, bind: bindClip},
	"Dropout":  {inputs: arity{1, 2}, bind: bindDropout, attributes: []attribute{{"seed", attrInt}}},

	"Add": {inputs: two, bind: pairwiseBinder((*Tape).Add)},
	"Sub": {inputs: two, bind: pairwiseBinder((*Tape).Sub)},
	"Mul": {inputs: two, bind: pairwiseBinder((*Tape).Mul)},
	"Div": {inputs: two, bind: pairwiseBinder((*Tape).Div)},
	"Pow": {inputs: two, dear: true, bind: pairwiseBinder((*Tape).Pow)},
	"Max": {inputs: two, bind: pairwiseBinder((*Tape).Max)},
	"Min": {inputs: two, bind: pairwiseBinder((*Tape).Min)},

	"Greater": {inputs: two, truth: true, bind: pairwiseBinder((*Tape).Greater)},
	"Less":    {inputs: two, truth: true, bind: pairwiseBinder((*Tape).Less)},
	"Equal":   {inputs: two, truth: true, bind: pairwiseBinder((*Tape).Equal)},
	"And":     {inputs: two, bools: []int{0, 1}, truth: true, bind: pairwiseBinder((*Tape).And)},
	"Or":      {inputs: two, bools: []int{0, 1}, truth: true, bind: pairwiseBinder((*Tape).Or)},
	"Not":     {inputs: one, bools: []int{0}, truth: true, bind: pointwiseBinder((*Tape).Not)},
	"Where":   {inputs: arity{3, 3}, bools: []int{0}, bind: bindWhere},

	"Conv": {inputs: arity{2, 3}, bind: bindConv, attributes: []attribute{
		{"dilations", attrInts}, {"group", attrInt}, {"kernel_shape", attrInts}, {"pads", attrInts},
		{"strides", attrInts}}},
	"MaxPool": {inputs: one, bind: bindMaxPool, attributes: pooling},
	"AveragePool": {inputs: one, bind: bindAveragePool,
		attributes: append([]attribute{{"count_include_pad", attrInt}}, pooling...)},

	"MatMul": {inputs: two, bind: bindMatMul},
	"Gemm": {inputs: arity{2, 3}, bind: bindGemm, attributes: []attribute{
		{"alpha", attrFloat}, {"beta", attrFloat}, {"transA", attrInt}, {"transB", attrInt}}},

	"Softmax": {inputs: one, dear: true, bind: bindSoftmax, attributes: onlyAxis},
	"LayerNormalization": {inputs: arity{2, 3}, dear: true, bind: bindLayerNorm,
		attributes: []attribute{{"axis", attrInt}, {"epsilon", attrFloat}, {"stash_type", attrInt}}},
	"BatchNormalization": {inputs: arity{5, 5}, bind: bindBatchNorm,
		attributes: []attribute{{"epsilon", attrFloat}, {"momentum", attrFloat}, {"training_mode", attrInt}}},
	"ReduceMean": {inputs: one, bind: reduceBinder((*Tape).ReduceMean), attributes: reductions},
	"ReduceMax":  {inputs: one, bind: reduceBinder((*Tape).ReduceMax), attributes: reductions},
	"ReduceSum": {inputs: arity{1, 2}, ints: []int{1},
		bind: reduceBinder((*Tape).ReduceSum), attributes: []attribute{{"keepdims", attrInt}}},
	"GlobalAveragePool": {inputs: one, bind: bindGlobalAveragePool},

	"Concat":    {inputs: arity{1, maxOperands}, required: maxOperands, bind: bindConcat, attributes: onlyAxis},
	"Split":     {inputs: arity{1, 2}, outputs: arity{1, maxOperands}, ints: []int{1}, bind: bindSplit, attributes: onlyAxis},
	"Slice":     {inputs: arity{3, 5}, ints: []int{1, 2, 3, 4}, bind: bindSlice},
	"Reshape":   {inputs: two, ints: []int{1}, bind: bindReshape, attributes: []attribute{{"allowzero", attrInt}}},
	"Flatten":   {inputs: one, bind: bindFlatten, attributes: onlyAxis},
	"Squeeze":   {inputs: two, ints: []int{1}, bind: bindSqueeze},
	"Unsqueeze": {inputs: two, ints: []int{1}, bind: bindUnsqueeze},
	"Transpose": {inputs: one, bind: bindTranspose, attributes: []attribute{{"perm", attrInts}}},
	"Gather":    {inputs: two, ints: []int{1}, indices: true, bind: bindGather, attributes: onlyAxis},
	"Expand":    {inputs: two, ints: []int{1}, bind: bindExpand},
	"Pad":       {inputs: arity{2, 3}, ints: []int{1}, bind: bindPad},
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

func (b *binding) fail(format string, args ...any) {
	if b.err == nil {
		b.err = refuse(format, args...)
	}
}

// int is an integer attribute within the range of a dimension.
func (b *binding) int(name string, absent int) int {
	a := b.attribute(name)
	if a == nil {
		return absent
	}
	if a.I < -maxDim || a.I > maxDim {
		b.fail("attribute %q is %d", name, a.I)
		return 0
	}
	return int(a.I)
}

// axis is the attribute "axis", counted from the start. A caller that goes on with
// it looks at the error: there may be no dimension at all.
func (b *binding) axis(absent, rank int) (int, error) {
	value := b.int("axis", absent)
	axis, ok := resolveAxis(value, rank)
	if !ok {
		b.fail("axis %d of %d dimensions", value, rank)
	}
	return axis, b.err
}

// flag is an attribute that is 0 or 1.
func (b *binding) flag(name string, absent int) bool {
	value := b.int(name, absent)
	if value != 0 && value != 1 {
		b.fail("attribute %q is %d, allowed are 0 and 1", name, value)
	}
	return value == 1
}

// float is a finite float attribute.
func (b *binding) float(name string, absent float32) float32 {
	a := b.attribute(name)
	if a == nil {
		return absent
	}
	if v := float64(a.F); math.IsNaN(v) || math.IsInf(v, 0) {
		b.fail("attribute %q is not finite", name)
	}
	return a.F
}

// list is a list attribute within the range of a dimension; nil when it is absent or is not.
func (b *binding) list(name string) []int {
	a := b.attribute(name)
	if a == nil {
		return nil
	}
	list := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		if v < -maxDim || v > maxDim {
			b.fail("attribute %q holds %d", name, v)
			return nil
		}
		list[i] = int(v)
	}
	return list
}

// constant is a float input that must be a scalar constant; it is not trained.
func (b *binding) constant(i int, absent float32) float32 {
	if !b.has(i) {
		return absent
	}
	s := b.in[i]
	if s.value == nil || s.kind != floats || len(s.shape) != 0 {
		b.fail("input %q must be a constant scalar", s.name)
		return absent
	}
	s.frozen = true
	return s.value.Data[0]
}

// yields sets the only output's shape.
func (b *binding) yields(shape []int) { b.out[0] = shape }
