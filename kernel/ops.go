package kernel

import "errors"

var errTodo = errors.New("kernel: not implemented yet")

type unary struct{}
type binary struct{}

func (n *node) share(x *Tensor) { n.value = *x }
func (n *node) allocGrad()      { n.hasGrd = true; n.grad = *NewTensor(n.value.Shape...) }

func (t *Tape) Backward(loss Value) error        { return errTodo }
func (t *Tape) MatMul(a, b Value) (Value, error) { return Value{}, errTodo }

// Gemm is alpha*A'*B' + beta*c on matrices; the zero Value as c means none.
func (t *Tape) Gemm(a, b, c Value, alpha, beta float32, transA, transB bool) (Value, error) {
	return Value{}, errTodo
}
func (t *Tape) Add(a, b Value) (Value, error)                  { return Value{}, errTodo }
func (t *Tape) Sub(a, b Value) (Value, error)                  { return Value{}, errTodo }
func (t *Tape) Mul(a, b Value) (Value, error)                  { return Value{}, errTodo }
func (t *Tape) Div(a, b Value) (Value, error)                  { return Value{}, errTodo }
func (t *Tape) Pow(a, b Value) (Value, error)                  { return Value{}, errTodo }
func (t *Tape) Scale(x Value, factor float32) (Value, error)   { return Value{}, errTodo }
func (t *Tape) Clip(x Value, low, high float32) (Value, error) { return Value{}, errTodo }
func (t *Tape) Sqrt(x Value) (Value, error)                    { return Value{}, errTodo }
func (t *Tape) Neg(x Value) (Value, error)                     { return Value{}, errTodo }
func (t *Tape) Exp(x Value) (Value, error)                     { return Value{}, errTodo }
func (t *Tape) Abs(x Value) (Value, error)                     { return Value{}, errTodo }
func (t *Tape) Relu(x Value) (Value, error)                    { return Value{}, errTodo }
func (t *Tape) Sigmoid(x Value) (Value, error)                 { return Value{}, errTodo }
func (t *Tape) Tanh(x Value) (Value, error)                    { return Value{}, errTodo }
func (t *Tape) Erf(x Value) (Value, error)                     { return Value{}, errTodo }
func (t *Tape) Gelu(x Value) (Value, error)                    { return Value{}, errTodo }
func (t *Tape) Sin(x Value) (Value, error)                     { return Value{}, errTodo }
func (t *Tape) Cos(x Value) (Value, error)                     { return Value{}, errTodo }
func (t *Tape) Identity(x Value) (Value, error)                { return Value{}, errTodo }
func (t *Tape) Dropout(x Value) (Value, error)                 { return Value{}, errTodo }
func (t *Tape) Softmax(x Value, axis int) (Value, error)       { return Value{}, errTodo }
func (t *Tape) LayerNorm(x, scale, bias Value, epsilon float32) (Value, error) {
	return Value{}, errTodo
}
func (t *Tape) BatchNorm(x, scale, bias, mean, variance Value, epsilon float32) (Value, error) {
	return Value{}, errTodo
}
func (t *Tape) Concat(axis int, values ...Value) (Value, error)        { return Value{}, errTodo }
func (t *Tape) Split(x Value, axis int, sizes ...int) ([]Value, error) { return nil, errTodo }
func (t *Tape) Slice(x Value, axis, start, end int) (Value, error)     { return Value{}, errTodo }
func (t *Tape) Reshape(x Value, shape ...int) (Value, error)           { return Value{}, errTodo }
func (t *Tape) Transpose(x Value, perm ...int) (Value, error)          { return Value{}, errTodo }
func (t *Tape) ReduceMean(x Value, keepDims bool, axes ...int) (Value, error) {
	return Value{}, errTodo
}
func (t *Tape) GlobalAveragePool(x Value) (Value, error) { return Value{}, errTodo }
func (t *Tape) SoftmaxCrossEntropy(logits Value, labels []int) (Value, error) {
	return Value{}, errTodo
}
