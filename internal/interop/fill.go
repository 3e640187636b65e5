package interop

import (
	"fmt"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// depth bounds messages within messages.
const depth = 5

// Fill sets every field of a message to something random that is valid in it:
// declared enumeration values, times and durations that JSON can write, text
// beyond ASCII, lists and maps of up to three, one member of each oneof.
func Fill(rng *rand.Rand, m proto.Message) { fillMessage(rng, m.ProtoReflect(), depth) }

func fillMessage(rng *rand.Rand, m protoreflect.Message, left int) {
	if fillKnown(rng, m.Interface()) || left == 0 {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if oneof := field.ContainingOneof(); oneof != nil && oneof.Fields().Get(rng.IntN(oneof.Fields().Len())) != field {
			continue
		}
		fillField(rng, m, field, left)
	}
}

func fillField(rng *rand.Rand, m protoreflect.Message, field protoreflect.FieldDescriptor, left int) {
	switch {
	case field.IsMap():
		entries := m.Mutable(field).Map()
		for range rng.IntN(4) {
			key := value(rng, field.MapKey()).MapKey()
			if field.MapValue().Message() == nil {
				entries.Set(key, value(rng, field.MapValue()))
				continue
			}
			fillMessage(rng, entries.Mutable(key).Message(), left-1)
		}
	case field.IsList():
		list := m.Mutable(field).List()
		for range rng.IntN(4) {
			if field.Message() == nil {
				list.Append(value(rng, field))
				continue
			}
			fillMessage(rng, list.AppendMutable().Message(), left-1)
		}
	case field.Message() != nil:
		fillMessage(rng, m.Mutable(field).Message(), left-1)
	default:
		m.Set(field, value(rng, field))
	}
}

// fillKnown fills the messages of protobuf itself, which have rules of their own.
func fillKnown(rng *rand.Rand, m proto.Message) bool {
	switch m := m.(type) {
	case *timestamppb.Timestamp:
		m.Seconds, m.Nanos = rng.Int64N(1<<32), rng.Int32N(1e9)
	case *durationpb.Duration:
		m.Seconds, m.Nanos = rng.Int64N(1<<20), rng.Int32N(1e9)
	case *structpb.Struct:
		m.Fields = map[string]*structpb.Value{
			text(rng): structpb.NewStringValue(text(rng)),
			text(rng): structpb.NewNumberValue(rng.NormFloat64()),
			text(rng): structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{
				structpb.NewNullValue(), structpb.NewBoolValue(rng.IntN(2) == 0),
			}}),
		}
	default:
		return false
	}
	return true
}

func value(rng *rand.Rand, field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rng.IntN(2) == 0)
	case protoreflect.EnumKind:
		declared := field.Enum().Values()
		return protoreflect.ValueOfEnum(declared.Get(rng.IntN(declared.Len())).Number())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(rng.Uint32()))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(rng.Uint64()))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(rng.Uint32())
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(rng.Uint64())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(rng.NormFloat64()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rng.NormFloat64())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(text(rng)))
	default:
		return protoreflect.ValueOfString(text(rng))
	}
}

func text(rng *rand.Rand) string {
	endings := []string{"", "-ä", " \"quoted\"\n", "/日本", "\U0001f331"}
	return fmt.Sprintf("%x%s", rng.Uint32(), endings[rng.IntN(len(endings))])
}
