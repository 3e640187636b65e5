package kernel

import "slices"

// Tensor is a dense row-major float32 array. An empty shape is a scalar.
type Tensor struct {
	Shape []int
	Data  []float32
}

// NewTensor returns a tensor of zeros.
func NewTensor(shape ...int) *Tensor {
	return &Tensor{Shape: slices.Clone(shape), Data: make([]float32, sizeOf(shape))}
}

// FromSlice wraps data, which it shares, in a shape. The caller gives as many
// elements as the shape holds; an operation refuses a tensor that breaks this.
func FromSlice(data []float32, shape ...int) *Tensor {
	return &Tensor{Shape: slices.Clone(shape), Data: data}
}

// Clone returns a tensor that shares nothing with t.
func (t *Tensor) Clone() *Tensor {
	return &Tensor{Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
}

// Size is the number of elements the shape holds.
func (t *Tensor) Size() int { return sizeOf(t.Shape) }

// Rows is the first dimension of a matrix, 1 for a scalar.
func (t *Tensor) Rows() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[0]
}

// Cols is the number of elements in one row.
func (t *Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return sizeOf(t.Shape[1:])
}

// valid reports whether the data fits the shape.
func (t *Tensor) valid() bool {
	for _, d := range t.Shape {
		if d < 0 {
			return false
		}
	}
	return len(t.Data) == sizeOf(t.Shape)
}

// Parameter is a named trainable tensor. Backward adds to Grad, so a training
// step clears it first.
type Parameter struct {
	Name  string
	Value *Tensor
	Grad  *Tensor
}

// NewParameter wraps value, which it shares, with a zero gradient.
func NewParameter(name string, value *Tensor) *Parameter {
	return &Parameter{Name: name, Value: value, Grad: NewTensor(value.Shape...)}
}

// ZeroGrad clears the gradient.
func (p *Parameter) ZeroGrad() {
	if p.Grad != nil {
		clear(p.Grad.Data)
	}
}

func sizeOf(shape []int) int {
	size := 1
	for _, d := range shape {
		size *= d
	}
	return size
}
