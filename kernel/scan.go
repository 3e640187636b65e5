package kernel

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-lite/weatherlight/kernel/internal/onnxpb"
)

// decode reads the wire form strictly. The scan comes first because a small
// file can hold millions of empty messages, each much larger in memory.
func decode(file []byte) (*onnxpb.ModelProto, error) {
	if len(file) > MaxFileBytes {
		return nil, refuse("file of %d bytes, at most %d are allowed", len(file), MaxFileBytes)
	}
	model := &onnxpb.ModelProto{}
	s := scanner{fields: maxFields, bytes: maxStructureBytes}
	if err := s.message(file, model.ProtoReflect().Descriptor()); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(file, model); err != nil {
		return nil, refuse("not an ONNX file: %v", err)
	}
	if err := refuseUnknown(model.ProtoReflect()); err != nil {
		return nil, err
	}
	return model, nil
}

// scanner walks the wire form within a budget, without building anything.
type scanner struct {
	fields int
	bytes  int
}

func (s *scanner) message(b []byte, message protoreflect.MessageDescriptor) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return refuse("not an ONNX file: %v", protowire.ParseError(n))
		}
		field := message.Fields().ByNumber(number)
		if field == nil {
			return refuse("%s holds field %d, which the profile does not have", message.Name(), number)
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(number, kind, b)
		if size < 0 {
			return refuse("not an ONNX file: %s.%s: %v", message.Name(), field.Name(), protowire.ParseError(size))
		}
		if err := s.value(b[:size], kind, field); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

func (s *scanner) value(b []byte, kind protowire.Type, field protoreflect.FieldDescriptor) error {
	if s.fields--; s.fields < 0 {
		return refuse("more than %d fields", maxFields)
	}
	if kind == protowire.BytesType && field.Message() != nil {
		content, _ := protowire.ConsumeBytes(b)
		return s.message(content, field.Message())
	}
	if field.FullName() == "weatherlight.onnx.v1.TensorProto.raw_data" {
		return nil
	}
	if s.bytes -= len(b); s.bytes < 0 {
		return refuse("more than %d bytes besides the initialisers' data", maxStructureBytes)
	}
	return nil
}

// refuseUnknown finds what the decoder could not place, such as a known field
// of the wrong wire type.
func refuseUnknown(m protoreflect.Message) error {
	if len(m.GetUnknown()) > 0 {
		return refuse("%s holds data that the profile does not have", m.Descriptor().Name())
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if field.Message() == nil || !m.Has(field) {
			continue
		}
		if err := refuseUnknownIn(m.Get(field), field.IsList()); err != nil {
			return err
		}
	}
	return nil
}

func refuseUnknownIn(v protoreflect.Value, list bool) error {
	if !list {
		return refuseUnknown(v.Message())
	}
	for i := range v.List().Len() {
		if err := refuseUnknown(v.List().Get(i).Message()); err != nil {
			return err
		}
	}
	return nil
}
