package kernel_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// plain is a valid model to spoil: seed = relu(host @ w + b).
func plain(t testing.TB) *onnxpb.ModelProto {
	t.Helper()
	b := kernel.NewBuilder("plain", 4)
	b.Init("w", kernel.NewTensor(4, 4))
	b.Init("b", kernel.NewTensor(4))
	b.Node("Gemm", []string{"host", "w", "b"}, "h", kernel.FloatAttr("alpha", 1))
	b.Node("Relu", []string{"h"}, "seed")
	model := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(bytesOf(t, b), model); err != nil {
		t.Fatal(err)
	}
	return model
}

func encoded(t testing.TB, m proto.Message) []byte {
	t.Helper()
	file, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// refusal loads a file that must be refused and returns the reason.
func refusal(t *testing.T, file []byte) string {
	t.Helper()
	k, err := kernel.Load(file)
	var profile *kernel.ProfileError
	if k != nil || !errors.Is(err, kernel.ErrProfile) || !errors.As(err, &profile) {
		t.Fatalf("got kernel %v, error %v; want a refusal", k != nil, err)
	}
	return profile.Reason
}

func unknown(m proto.Message, number protowire.Number, content []byte) {
	raw := protowire.AppendTag(nil, number, protowire.BytesType)
	m.ProtoReflect().SetUnknown(protowire.AppendBytes(raw, content))
}

func raw(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func fixed(n int64) *onnxpb.TensorShapeProto_Dimension {
	return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}}
}

func dims(info *onnxpb.ValueInfoProto) *onnxpb.TensorShapeProto {
	return info.GetType().GetTensorType().Shape
}

// hostileFile is the plain model with something about it that must be refused.
type hostileFile struct {
	name, reason string
	spoil        func(m *onnxpb.ModelProto)
}

func hostileFiles() []hostileFile {
	return []hostileFile{
		{"another IR version", "IR version", func(m *onnxpb.ModelProto) { m.IrVersion = 9 }},
		{"another operator set", "operator set 18", func(m *onnxpb.ModelProto) { m.OpsetImport[0].Version = 18 }},
		{"no operator set", "operator sets", func(m *onnxpb.ModelProto) { m.OpsetImport = nil }},
		{"a second operator set", "operator sets", func(m *onnxpb.ModelProto) {
			m.OpsetImport = append(m.OpsetImport, &onnxpb.OperatorSetIdProto{Domain: "com.evil", Version: 1})
		}},
		{"no graph", "no graph", func(m *onnxpb.ModelProto) { m.Graph = nil }},
		{"external data", "field 13", func(m *onnxpb.ModelProto) {
			unknown(m.Graph.Initializer[0], 13, encodedEntry("location", "../../etc/passwd"))
		}},
		{"a data location", "field 14", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].ProtoReflect().SetUnknown(
				protowire.AppendVarint(protowire.AppendTag(nil, 14, protowire.VarintType), 1))
		}},
		{"a sub-graph attribute", "field 6", func(m *onnxpb.ModelProto) {
			unknown(m.Graph.Node[0].Attribute[0], 6, nil)
		}},
		{"a function", "field 25", func(m *onnxpb.ModelProto) { unknown(m, 25, nil) }},
		{"training information", "field 20", func(m *onnxpb.ModelProto) { unknown(m, 20, nil) }},
		{"a sparse initialiser", "field 15", func(m *onnxpb.ModelProto) { unknown(m.Graph, 15, nil) }},
		{"a known field of the wrong wire type", "does not have", func(m *onnxpb.ModelProto) {
			m.Graph.ProtoReflect().SetUnknown(
				protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 1))
		}},

		{"huge dimensions", "dimension of 1099511627776", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Dims = []int64{1 << 40, 4}
		}},
		{"dimensions whose product wraps round", "elements", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Dims = []int64{1 << 16, 1 << 16, 1 << 16, 1 << 16}
		}},
		{"a negative dimension", "dimension of -4", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Dims = []int64{-4, -4}
		}},
		{"an empty dimension", "dimension of 0", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Dims = []int64{0, 4}
		}},
		{"many dimensions", "9 dimensions", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Dims = slices.Repeat([]int64{1}, 9)
		}},
		{"too few bytes", "60 bytes for 16 float32", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].RawData = make([]byte, 60)
		}},
		{"too many bytes", "65 bytes for 16 float32", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].RawData = make([]byte, 65)
		}},
		{"no bytes", "0 bytes for 16 float32", func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].RawData = nil }},
		{"a NaN", "element 2 is not finite", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1].RawData = raw(0, 0, float32(math.NaN()), 0)
		}},
		{"an infinity", "element 3 is not finite", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1].RawData = raw(0, 0, 0, float32(math.Inf(-1)))
		}},
		{"typed instead of raw data", "raw data", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1].FloatData = []float32{1, 2, 3, 4}
		}},
		{"doubles", "element type 11", func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].DataType = 11 }},
		{"truth values that are neither", "neither true nor false", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1] = &onnxpb.TensorProto{
				Name: "b", DataType: 9, Dims: []int64{4}, RawData: []byte{0, 1, 2, 0},
			}
		}},
		{"truth values of another length", "3 bytes for 4 bool", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1] = &onnxpb.TensorProto{
				Name: "b", DataType: 9, Dims: []int64{4}, RawData: []byte{0, 1, 0},
			}
		}},
		{"huge indices", "8 bytes for 4194304 int64", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1] = &onnxpb.TensorProto{
				Name: "b", DataType: 7, Dims: []int64{1 << 11, 1 << 11}, RawData: make([]byte, 8),
			}
		}},
		{"int64 where a float belongs", "wrong element type", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1] = &onnxpb.TensorProto{
				Name: "b", DataType: 7, Dims: []int64{4}, RawData: make([]byte, 32),
			}
		}},
		{"an unused initialiser", "not used", func(m *onnxpb.ModelProto) {
			extra := &onnxpb.TensorProto{Name: "extra", DataType: 1, Dims: []int64{1}, RawData: raw(1)}
			m.Graph.Initializer = append(m.Graph.Initializer, extra)
		}},
		{"initialisers of one name", "twice", func(m *onnxpb.ModelProto) { m.Graph.Initializer[1].Name = "w" }},
		{"an initialiser named like the input", "twice", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[1].Name = "host"
		}},

		{"a cycle", "before it is used", func(m *onnxpb.ModelProto) { m.Graph.Node[0].Input[0] = "seed" }},
		{"a node that feeds itself", "before it is used", func(m *onnxpb.ModelProto) {
			m.Graph.Node[1].Input[0] = "seed"
		}},
		{"an undefined input", "before it is used", func(m *onnxpb.ModelProto) { m.Graph.Node[0].Input[1] = "ghost" }},
		{"an empty required input", "before it is used", func(m *onnxpb.ModelProto) { m.Graph.Node[0].Input[1] = "" }},
		{"an output defined twice", "twice", func(m *onnxpb.ModelProto) { m.Graph.Node[1].Output[0] = "h" }},
		{"an output over the input", "twice", func(m *onnxpb.ModelProto) { m.Graph.Node[0].Output[0] = "host" }},
		{"no node", "0 nodes", func(m *onnxpb.ModelProto) { m.Graph.Node = nil }},
		{"10,000 nodes", "10000 nodes", func(m *onnxpb.ModelProto) { m.Graph.Node = chain(10_000) }},
		{"a node for nothing", "nothing uses node 2", func(m *onnxpb.ModelProto) {
			m.Graph.Node = append(m.Graph.Node, &onnxpb.NodeProto{
				OpType: "Relu", Input: []string{"h"}, Output: []string{"spare"},
			})
		}},
		{"an operator outside the list", "not in the profile", func(m *onnxpb.ModelProto) {
			m.Graph.Node[1].OpType = "Loop"
		}},
		{"a custom domain", "not in the profile", func(m *onnxpb.ModelProto) { m.Graph.Node[1].Domain = "com.evil" }},
		{"too many inputs", "2 inputs", func(m *onnxpb.ModelProto) { m.Graph.Node[1].Input = []string{"h", "h"} }},
		{"too many outputs", "2 outputs", func(m *onnxpb.ModelProto) {
			m.Graph.Node[1].Output = []string{"seed", "more"}
		}},
		{"nodes of one name", "twice", func(m *onnxpb.ModelProto) {
			m.Graph.Node[0].Name, m.Graph.Node[1].Name = "n", "n"
		}},
		{"an unknown attribute", `"gamma"`, func(m *onnxpb.ModelProto) { m.Graph.Node[0].Attribute[0].Name = "gamma" }},
		{"an attribute twice", "twice", func(m *onnxpb.ModelProto) {
			m.Graph.Node[0].Attribute = append(m.Graph.Node[0].Attribute, m.Graph.Node[0].Attribute[0])
		}},
		{"an attribute of another type", "wrong type", func(m *onnxpb.ModelProto) {
			m.Graph.Node[0].Attribute[0].Type = 2
		}},
		{"a tensor in an attribute", "wrong type", func(m *onnxpb.ModelProto) {
			m.Graph.Node[0].Attribute[0].T = m.Graph.Initializer[0]
		}},
		{"an attribute that is NaN", "not finite", func(m *onnxpb.ModelProto) {
			m.Graph.Node[0].Attribute[0].F = float32(math.NaN())
		}},

		{"a second input", "2 inputs", func(m *onnxpb.ModelProto) {
			m.Graph.Input = append(m.Graph.Input, m.Graph.Input[0])
		}},
		{"no output", "0 outputs", func(m *onnxpb.ModelProto) { m.Graph.Output = nil }},
		{"an input of another name", `"x"`, func(m *onnxpb.ModelProto) { m.Graph.Input[0].Name = "x" }},
		{"an input without type", "not a float32", func(m *onnxpb.ModelProto) { m.Graph.Input[0].Type = nil }},
		{"an input of int64", "not a float32", func(m *onnxpb.ModelProto) {
			m.Graph.Input[0].GetType().GetTensorType().ElemType = 7
		}},
		{"a fixed batch", "free batch", func(m *onnxpb.ModelProto) { dims(m.Graph.Input[0]).Dim[0] = fixed(8) }},
		{"an input of huge width", "dimension of", func(m *onnxpb.ModelProto) {
			dims(m.Graph.Input[0]).Dim[1] = fixed(1 << 40)
		}},
		{"an input of negative width", "dimension of -4", func(m *onnxpb.ModelProto) {
			dims(m.Graph.Input[0]).Dim[1] = fixed(-4)
		}},
		{"a second free dimension", "square of the batch", func(m *onnxpb.ModelProto) {
			dims(m.Graph.Input[0]).Dim[1] = dims(m.Graph.Input[0]).Dim[0]
		}},
		{"an output of another shape than declared", "declared is", func(m *onnxpb.ModelProto) {
			dims(m.Graph.Output[0]).Dim[1] = fixed(5)
		}},
		{"an output that nothing computes", "nothing computes", func(m *onnxpb.ModelProto) {
			m.Graph.Node[1].Output[0] = "other"
		}},
		{"shapes that do not fit", "product of", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Dims = []int64{2, 8}
		}},
		{"declared inner shapes", "inner values", func(m *onnxpb.ModelProto) { m.Graph.ValueInfo = m.Graph.Input }},

		{"a long name", "name of 200 bytes", func(m *onnxpb.ModelProto) {
			m.Graph.Initializer[0].Name = strings.Repeat("w", 200)
		}},
		{"a name with a line break", "plain ASCII", func(m *onnxpb.ModelProto) { m.Graph.Initializer[0].Name = "a\nb" }},
		{"a frozen name that is no initialiser", "frozen name", func(m *onnxpb.ModelProto) {
			m.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: "frozen", Value: "w,ghost"}}
		}},
		{"a metadata key twice", "twice", func(m *onnxpb.ModelProto) {
			m.MetadataProps = []*onnxpb.StringStringEntryProto{{Key: "k"}, {Key: "k"}}
		}},
		{"much metadata", "65 metadata entries", func(m *onnxpb.ModelProto) {
			for i := range 65 {
				entry := &onnxpb.StringStringEntryProto{Key: fmt.Sprint("k", i)}
				m.MetadataProps = append(m.MetadataProps, entry)
			}
		}},
		{"a long text", "besides the initialisers' data", func(m *onnxpb.ModelProto) {
			m.DocString = strings.Repeat("x", 2<<20)
		}},
	}
}

func TestHostileFilesAreRefusedWithAReason(t *testing.T) {
	for _, c := range hostileFiles() {
		t.Run(c.name, func(t *testing.T) {
			model := plain(t)
			if _, err := kernel.Load(encoded(t, model)); err != nil {
				t.Fatalf("the file was refused before it was spoiled: %v", err)
			}
			c.spoil(model)
			file := encoded(t, model)
			taken := allocated(func() {
				if reason := refusal(t, file); !strings.Contains(reason, c.reason) {
					t.Errorf("reason %q, want it to say %q", reason, c.reason)
				}
			})
			if bound := uint64(1<<20 + 16*len(file)); taken > bound {
				t.Errorf("refusing %d bytes took %d", len(file), taken)
			}
		})
	}
}

func encodedEntry(key, value string) []byte {
	b := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), key)
	return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), value)
}

func chain(count int) []*onnxpb.NodeProto {
	nodes := make([]*onnxpb.NodeProto, count)
	for i := range nodes {
		in, out := fmt.Sprint("v", i), fmt.Sprint("v", i+1)
		nodes[i] = &onnxpb.NodeProto{OpType: "Relu", Input: []string{in}, Output: []string{out}}
	}
	nodes[0].Input[0], nodes[count-1].Output[0] = "host", "seed"
	return nodes
}
