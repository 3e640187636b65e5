package bounds

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-lite/weatherlight/leyline"
)

// prose are the fields of Leyline for people, with those that refer to files.
var prose = []protoreflect.Name{"reason", "rationale", "notes", "description", "summary", "artifact_ref", "string_value"}

// shape is a message type as a check needs it: asking its descriptor for each field of
// each message costs nearly as much as decoding it.
type shape struct {
	fields []field // by number
	nests  bool    // messages of this type, or in it, may be in each other
}

type field struct {
	name     protoreflect.FullName
	repeated bool
	most     int    // bytes of a text; 0: it is none
	message  *shape // nil: it is none
}

// contract is every message that travels.
type contract struct {
	envelope *shape
	payloads map[leyline.BusMessageType]*shape
}

var shapes = sync.OnceValue(func() contract {
	known := make(map[protoreflect.FullName]*shape)
	of := func(message proto.Message) *shape { return shapeOf(message.ProtoReflect().Descriptor(), known) }
	c := contract{envelope: of((*leyline.BusEnvelope)(nil)), payloads: make(map[leyline.BusMessageType]*shape)}
	for number := range leyline.BusMessageType_name {
		kind := leyline.BusMessageType(number)
		if message := leyline.NewMessage(kind); message != nil {
			c.payloads[kind] = of(message)
		}
	}
	return c
})

// shapeOf finds what a type holds. One that is met within itself nests, and so does what
// holds it.
func shapeOf(kind protoreflect.MessageDescriptor, known map[protoreflect.FullName]*shape) *shape {
	if s := known[kind.FullName()]; s != nil {
		s.nests = s.nests || s.fields == nil
		return s
	}
	s := new(shape)
	known[kind.FullName()] = s
	fields := []field{{}} // none has the number 0
	for i := range kind.Fields().Len() {
		of := kind.Fields().Get(i)
		f := field{name: of.FullName(), repeated: of.Cardinality() == protoreflect.Repeated}
		switch of.Kind() {
		case protoreflect.MessageKind:
			f.message = shapeOf(of.Message(), known)
			s.nests = s.nests || f.message.nests
		case protoreflect.StringKind:
			f.most = textBound(of)
		}
		fields = append(fields, make([]field, max(0, int(of.Number())+1-len(fields)))...)
		fields[of.Number()] = f
	}
	s.fields = fields
	return s
}

func textBound(field protoreflect.FieldDescriptor) int {
	switch {
	case field.ContainingMessage().IsMapEntry() && field.Number() == 2:
		return maxValue
	case slices.Contains(prose, field.Name()):
		return maxProse
	default:
		return MaxText
	}
}
