package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// Kernel is a loaded ONNX file: an immutable template, safe for any number of
// goroutines.
type Kernel struct {
	name         string
	checksum     string
	model        *onnxpb.ModelProto // as decoded, without the data of floats
	metadata     []metadataEntry
	input        Spec
	output       Spec
	initializers []initializer
	steps        []step
	slots        int // host, initialisers and node outputs
	result       int // slot of the output
	rowElements  int64
	multiplyAdds int64
	work         int64
}

// Spec describes a graph input or output; -1 in Shape is the batch.
type Spec struct {
	Name  string
	Shape []int
}

type metadataEntry struct{ key, value string }

// initializer is a constant of the file and the slot it fills. A statistic is
// frozen for the optimiser and moved by training itself.
type initializer struct {
	name      string
	slot      int
	value     *Tensor
	frozen    bool
	statistic bool
}

// step is one operator application on slots; absent marks an optional operand
// that is left out.
type step struct {
	op    string
	in    []int
	out   []int
	apply apply
}

const absent = -1

// apply runs an operator: in holds the zero Value where an operand is absent
// or a constant list of int64.
type apply func(t *Tape, in, out []Value) error

// Instance is one use of a kernel with parameters of its own. It belongs to
// one goroutine.
type Instance struct {
	kernel     *Kernel
	parameters []*Parameter
	statistics []*Parameter
	values     []Value
	in, out    []Value
}

// Checksum is the lower-case hexadecimal SHA-256 of b, the address of a kernel.
func Checksum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Checksum is the address of the file the kernel was loaded from.
func (k *Kernel) Checksum() string { return k.checksum }

// Name is the graph's name.
func (k *Kernel) Name() string { return k.name }

// Input describes "host".
func (k *Kernel) Input() Spec { return k.input.clone() }

// Output describes "seed".
func (k *Kernel) Output() Spec { return k.output.clone() }

func (s Spec) clone() Spec { return Spec{Name: s.Name, Shape: slices.Clone(s.Shape)} }

// Metadata returns an entry of the file's metadata.
func (k *Kernel) Metadata(key string) (string, bool) {
	for _, e := range k.metadata {
		if e.key == key {
			return e.value, true
		}
	}
	return "", false
}

// ParameterCount is the number of trainable elements.
func (k *Kernel) ParameterCount() int {
	count := 0
	for _, init := range k.initializers {
		if !init.frozen {
			count += len(init.value.Data)
		}
	}
	return count
}

// Nodes is the number of operators.
func (k *Kernel) Nodes() int { return len(k.steps) }

// Operators are the names of the operators in use, sorted, each once.
func (k *Kernel) Operators() []string {
	var names []string
	for _, s := range k.steps {
		names = append(names, s.op)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// MultiplyAdds is the number of multiply-adds in the matrix products and
// convolutions of one forward pass of one row.
func (k *Kernel) MultiplyAdds() int64 { return k.multiplyAdds }

// Work is about how long one row of a forward pass takes, with all that the operators do, in
// multiply-adds of a matrix product.
func (k *Kernel) Work() int64 { return k.work }

// Instantiate copies the trainable initialisers into a new instance.
func (k *Kernel) Instantiate() *Instance {
	i := &Instance{kernel: k, values: make([]Value, k.slots)}
	for _, init := range k.initializers {
		switch {
		case init.statistic:
			i.statistics = append(i.statistics, &Parameter{Name: init.name, Value: init.value.Clone()})
		case !init.frozen:
			i.parameters = append(i.parameters, NewParameter(init.name, init.value.Clone()))
		}
	}
	return i
}

// Parameters are the instance's own, in the file's order.
func (i *Instance) Parameters() []*Parameter { return i.parameters }

// Statistics are the instance's running means and variances of batch
// normalisation, in the file's order. They have no gradient: a forward pass on a
// tape in training mode moves them.
func (i *Instance) Statistics() []*Parameter { return i.statistics }

// Forward runs the kernel on x, whose shape fits Input, and returns a value
// whose shape fits Output. ErrShape reports an x that does not fit, ErrTooLarge
// a batch beyond the memory bound.
func (i *Instance) Forward(t *Tape, x Value) (Value, error) {
	if err := i.kernel.admit(x.Shape()); err != nil {
		return Value{}, fmt.Errorf("kernel %q: %w", i.kernel.name, err)
	}
	i.values[0] = x
	i.recordInitializers(t)
	for n := range i.kernel.steps {
		if err := i.run(t, &i.kernel.steps[n]); err != nil {
			return Value{}, fmt.Errorf("kernel %q: node %d (%s): %w", i.kernel.name, n, i.kernel.steps[n].op, err)
		}
	}
	return i.values[i.kernel.result], nil
}

func (k *Kernel) admit(shape []int) error {
	if len(shape) != len(k.input.Shape) || !slices.Equal(shape[1:], k.input.Shape[1:]) || shape[0] < 1 {
		return shapeError("forward", "input %v, want %v", shape, k.input.Shape)
	}
	if int64(shape[0]) > maxBatchElements/max(k.rowElements, 1) {
		return fmt.Errorf("%w: %d rows of %d values", ErrTooLarge, shape[0], k.rowElements)
	}
	return nil
}

func (i *Instance) recordInitializers(t *Tape) {
	parameter, statistic := 0, 0
	for n := range i.kernel.initializers {
		init := &i.kernel.initializers[n]
		switch {
		case init.statistic:
			i.values[init.slot] = t.Constant(i.statistics[statistic].Value)
			statistic++
		case init.frozen:
			i.values[init.slot] = t.Constant(init.value)
		default:
			i.values[init.slot] = t.Parameter(i.parameters[parameter])
			parameter++
		}
	}
}

func (i *Instance) run(t *Tape, s *step) error {
	i.in, i.out = i.in[:0], i.out[:0]
	for _, slot := range s.in {
		v := Value{}
		if slot != absent {
			v = i.values[slot]
		}
		i.in = append(i.in, v)
	}
	for range s.out {
		i.out = append(i.out, Value{})
	}
	if err := s.apply(t, i.in, i.out); err != nil {
		return err
	}
	for n, slot := range s.out {
		i.values[slot] = i.out[n]
	}
	return nil
}
