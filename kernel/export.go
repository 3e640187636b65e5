package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// Bytes is the instance as a kernel file of its own: the graph of its kernel
// with the parameters and statistics as they are now. What is loaded from it
// computes the same bits. A parameter that is not finite is an error.
func (i *Instance) Bytes() ([]byte, error) {
	model := proto.CloneOf(i.kernel.model)
	for _, t := range model.Graph.Initializer {
		i.fill(t)
	}
	for _, n := range model.Graph.Node {
		writeZeros(n)
	}
	file, err := proto.MarshalOptions{Deterministic: true}.Marshal(model)
	if err != nil {
		return nil, fmt.Errorf("encode kernel: %w", err)
	}
	if _, err := Load(file); err != nil {
		return nil, fmt.Errorf("write kernel %q: %w", i.kernel.name, err)
	}
	return file, nil
}

// stripped is a decoded file without the data of its float initialisers, which
// a kernel holds as tensors.
func stripped(model *onnxpb.ModelProto) *onnxpb.ModelProto {
	for _, t := range model.Graph.Initializer {
		if t.DataType == typeFloat {
			t.RawData = nil
		}
	}
	return model
}

// fill writes the present value of a float initialiser of the kernel.
func (i *Instance) fill(t *onnxpb.TensorProto) {
	if t.DataType != typeFloat {
		return
	}
	for _, list := range [][]*Parameter{i.parameters, i.statistics} {
		for _, p := range list {
			if p.Name == t.Name {
				t.RawData = rawFloats(p.Value.Data)
				return
			}
		}
	}
	for _, init := range i.kernel.initializers {
		if init.name == t.Name {
			t.RawData = rawFloats(init.value.Data)
		}
	}
}

func rawFloats(data []float32) []byte {
	raw := make([]byte, 0, 4*len(data))
	for _, v := range data {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return raw
}

// writeZeros makes the zeros among a decoded node's attributes be written out.
func writeZeros(n *onnxpb.NodeProto) {
	for _, p := range n.Attribute {
		writeZero(p)
	}
}

// writeZero makes an attribute that is zero be written in full: ONNX wants the
// field of the attribute's type present, and proto3 leaves zeros out. A reader
// sees the ordinary field.
func writeZero(p *onnxpb.AttributeProto) {
	switch {
	case p.Type == attrInt && p.I == 0:
		p.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 0))
	case p.Type == attrFloat && p.F == 0:
		p.ProtoReflect().SetUnknown(protowire.AppendFixed32(protowire.AppendTag(nil, 2, protowire.Fixed32Type), 0))
	}
}

// NewNetworkBuilder starts a network of the profile from an input "host",
// [N, input...], to an output "seed", [N, output...].
func NewNetworkBuilder(name string, input, output []int) *Builder {
	b := NewBuilderFor(name, input...)
	b.model.Graph.Output = []*onnxpb.ValueInfoProto{batchInfo(outputName, output)}
	if len(output) == 0 || slices.Min(output) < 1 {
		b.fail("an output of shape %v", slices.Clone(output))
	}
	return b
}

// Inline adds the graph of an instance, with its parameters and statistics as
// they are now, to read the value named input. Every name of the graph is put
// behind prefix, which no other name of the builder begins with. It returns the
// name of the graph's output.
func (b *Builder) Inline(prefix string, i *Instance, input string) string {
	rename := func(name string) string {
		switch name {
		case "":
			return ""
		case inputName:
			return input
		}
		return prefix + name
	}
	for _, t := range i.kernel.model.Graph.Initializer {
		t = proto.CloneOf(t)
		i.fill(t)
		t.Name = rename(t.Name)
		b.model.Graph.Initializer = append(b.model.Graph.Initializer, t)
	}
	for _, n := range i.kernel.model.Graph.Node {
		n = proto.CloneOf(n)
		for at, name := range n.Input {
			n.Input[at] = rename(name)
		}
		for at, name := range n.Output {
			n.Output[at] = rename(name)
		}
		if n.Name != "" {
			n.Name = rename(n.Name)
		}
		writeZeros(n)
		b.model.Graph.Node = append(b.model.Graph.Node, n)
	}
	if list, _ := i.kernel.Metadata(frozenKey); list != "" {
		for name := range strings.SplitSeq(list, ",") {
			b.freeze(rename(name))
		}
	}
	return rename(outputName)
}

func (b *Builder) freeze(name string) {
	if b.frozen != "" {
		b.frozen += ","
	}
	b.frozen += name
}
