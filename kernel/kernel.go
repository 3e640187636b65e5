package kernel

import (
	"crypto/sha256"
	"encoding/hex"
)

// Kernel is a loaded ONNX file: an immutable template, safe for any number of
// goroutines.
type Kernel struct {
	checksum string
}

// Spec describes a graph input or output; -1 in Shape is the batch.
type Spec struct {
	Name  string
	Shape []int
}

// Instance is one use of a kernel with parameters of its own. It belongs to
// one goroutine.
type Instance struct{ parameters []*Parameter }

// Load reads an ONNX file strictly; every refusal is ErrProfile.
func Load(onnx []byte) (*Kernel, error) { return nil, errTodo }

// Checksum is the lower-case hexadecimal SHA-256 of b, the address of a kernel.
func Checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Checksum is the address of the file the kernel was loaded from.
func (k *Kernel) Checksum() string { return k.checksum }

// Input describes "host".
func (k *Kernel) Input() Spec { return Spec{} }

// Output describes "seed".
func (k *Kernel) Output() Spec { return Spec{} }

// Name is the graph's name.
func (k *Kernel) Name() string { return "" }

// Metadata returns an entry of the file's metadata.
func (k *Kernel) Metadata(key string) (string, bool) { return "", false }

// ParameterCount is the number of trainable elements.
func (k *Kernel) ParameterCount() int { return 0 }

// Nodes is the number of operators.
func (k *Kernel) Nodes() int { return 0 }

// MultiplyAdds is the number of multiply-adds of one forward pass of one row.
func (k *Kernel) MultiplyAdds() int64 { return 0 }

// Instantiate copies the trainable initialisers into a new instance.
func (k *Kernel) Instantiate() *Instance { return nil }

// Parameters are the instance's own, in the file's order.
func (i *Instance) Parameters() []*Parameter { return i.parameters }

// Forward runs the kernel on x, [N, features].
func (i *Instance) Forward(t *Tape, x Value) (Value, error) { return Value{}, errTodo }
