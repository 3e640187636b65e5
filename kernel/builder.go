package kernel

import (
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// The fixed parts of every kernel file.
const (
	irVersion    = 8
	opsetVersion = 17
	inputName    = "host"
	outputName   = "seed"
	batchSymbol  = "N"
	producerName = "weatherlight"
	frozenKey    = "frozen"
)

// Element and attribute type numbers of ONNX.
const (
	typeFloat = 1
	typeInt64 = 7
	typeBool  = 9

	attrFloat = 1
	attrInt   = 2
	attrInts  = 7
)

// Builder writes a kernel as an ONNX file, nodes and initialisers in the order
// of the calls, so that equal calls give equal bytes. A builder belongs to one
// goroutine.
type Builder struct {
	model  *onnxpb.ModelProto
	frozen string
	err    error
}

// Attr is a constant attribute of a node.
type Attr struct {
	name   string
	number int32
	i      int64
	f      float32
	ints   []int64
}

// IntAttr is an int64 attribute.
func IntAttr(name string, v int64) Attr { return Attr{name: name, number: attrInt, i: v} }

// FloatAttr is a float32 attribute.
func FloatAttr(name string, v float32) Attr { return Attr{name: name, number: attrFloat, f: v} }

// IntsAttr is a list of int64.
func IntsAttr(name string, v ...int64) Attr { return Attr{name: name, number: attrInts, ints: v} }

// NewBuilder starts a kernel whose input "host" and output "seed" are both
// [N, features], N being the batch.
func NewBuilder(name string, features int) *Builder { return NewBuilderFor(name, features) }

// NewBuilderFor starts a kernel whose input "host" and output "seed" are both
// [N, shape...], N being the batch: [N, F] features, [N, T, D] sequences, or
// [N, C, H, W] maps.
func NewBuilderFor(name string, shape ...int) *Builder {
	b := &Builder{model: &onnxpb.ModelProto{
		IrVersion:    irVersion,
		ProducerName: producerName,
		OpsetImport:  []*onnxpb.OperatorSetIdProto{{Version: opsetVersion}},
		Graph: &onnxpb.GraphProto{
			Name:   name,
			Input:  []*onnxpb.ValueInfoProto{batchInfo(inputName, shape)},
			Output: []*onnxpb.ValueInfoProto{batchInfo(outputName, shape)},
		},
	}}
	if len(shape) == 0 || slices.Min(shape) < 1 {
		b.fail("a slot of shape %v", slices.Clone(shape))
	}
	return b
}

func batchInfo(name string, shape []int) *onnxpb.ValueInfoProto {
	dims := []*onnxpb.TensorShapeProto_Dimension{
		{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: batchSymbol}},
	}
	for _, d := range shape {
		dims = append(dims, &onnxpb.TensorShapeProto_Dimension{
			Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)},
		})
	}
	tensor := &onnxpb.TypeProto_Tensor{ElemType: typeFloat, Shape: &onnxpb.TensorShapeProto{Dim: dims}}
	return &onnxpb.ValueInfoProto{
		Name: name,
		Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tensor}},
	}
}

// Init adds a trainable initialiser. The data is copied.
func (b *Builder) Init(name string, t *Tensor) {
	if t == nil || !t.valid() {
		b.fail("initialiser %q: the data does not fill the shape", name)
		return
	}
	b.addInitializer(name, typeFloat, rawFloats(t.Data), t.Shape...)
}

// Frozen adds a constant float initialiser, one that no training changes.
func (b *Builder) Frozen(name string, t *Tensor) {
	b.Init(name, t)
	b.freeze(name)
}

// InitInts adds a constant list of int64 (a shape, axes, sizes).
func (b *Builder) InitInts(name string, v ...int64) { b.InitIndices(name, v, len(v)) }

// InitIndices adds a constant int64 array of a shape (the indices of Gather).
// No shape makes it a scalar.
func (b *Builder) InitIndices(name string, v []int64, shape ...int) {
	if len(v) != sizeOf(shape) {
		b.fail("initialiser %q: %d indices do not fill %v", name, len(v), slices.Clone(shape))
		return
	}
	raw := make([]byte, 0, 8*len(v))
	for _, i := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(i))
	}
	b.addInitializer(name, typeInt64, raw, shape...)
}

// InitBools adds a constant bool array (a mask for Where).
func (b *Builder) InitBools(name string, v []bool, shape ...int) {
	if len(v) != sizeOf(shape) {
		b.fail("initialiser %q: %d bools do not fill %v", name, len(v), slices.Clone(shape))
		return
	}
	raw := make([]byte, len(v))
	for i, set := range v {
		raw[i] = byte(flag(set))
	}
	b.addInitializer(name, typeBool, raw, shape...)
}

func (b *Builder) addInitializer(name string, dataType int32, raw []byte, shape ...int) {
	t := &onnxpb.TensorProto{Name: name, DataType: dataType, RawData: raw}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	b.model.Graph.Initializer = append(b.model.Graph.Initializer, t)
}

// Node adds an operator with one output. An empty input name leaves an optional
// operand out.
func (b *Builder) Node(op string, inputs []string, output string, attrs ...Attr) {
	b.NodeOutputs(op, inputs, []string{output}, attrs...)
}

// NodeOutputs adds an operator with several outputs (Split).
func (b *Builder) NodeOutputs(op string, inputs, outputs []string, attrs ...Attr) {
	n := &onnxpb.NodeProto{OpType: op, Input: slices.Clone(inputs), Output: slices.Clone(outputs)}
	for _, a := range attrs {
		n.Attribute = append(n.Attribute, a.proto())
	}
	b.model.Graph.Node = append(b.model.Graph.Node, n)
}

func (a Attr) proto() *onnxpb.AttributeProto {
	p := &onnxpb.AttributeProto{Name: a.name, Type: a.number, I: a.i, F: a.f, Ints: slices.Clone(a.ints)}
	writeZero(p)
	return p
}

// Metadata adds an entry to the file's metadata. The key "frozen" is the
// builder's own.
func (b *Builder) Metadata(key, value string) {
	if key == frozenKey {
		b.fail("metadata key %q is written by Frozen", key)
		return
	}
	b.model.MetadataProps = append(b.model.MetadataProps, &onnxpb.StringStringEntryProto{Key: key, Value: value})
}

// Bytes is the ONNX file, or the first mistake. A file that Load would refuse
// is a mistake too, so whatever Bytes returns can be loaded.
func (b *Builder) Bytes() ([]byte, error) {
	file, err := b.unchecked()
	if err != nil {
		return nil, err
	}
	if _, err := Load(file); err != nil {
		return nil, fmt.Errorf("build kernel %q: %w", b.model.Graph.Name, err)
	}
	return file, nil
}

// unchecked is the ONNX file, whatever Load says of it.
func (b *Builder) unchecked() ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	model := proto.CloneOf(b.model)
	if b.frozen != "" {
		entry := &onnxpb.StringStringEntryProto{Key: frozenKey, Value: b.frozen}
		model.MetadataProps = append(model.MetadataProps, entry)
	}
	file, err := proto.MarshalOptions{Deterministic: true}.Marshal(model)
	if err != nil {
		return nil, fmt.Errorf("encode kernel: %w", err)
	}
	return file, nil
}

func (b *Builder) fail(format string, args ...any) {
	if b.err == nil {
		b.err = refuse(format, args...)
	}
}
