// Package bounds says how much one message may make its readers remember. It looks at
// serialised bytes before anything is made of them; whoever verifies refuses what is beyond
// the bounds, and whoever seals does not send it.
package bounds

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// MaxText bounds ids, names and keys in bytes: they are what is remembered, as labels,
	// as marks against replays and as keys of records.
	MaxText = 512
	// maxProse bounds the texts that are for people, and references.
	maxProse = 8 << 10
	// maxValue bounds the values of attributes, in which lists travel as JSON.
	maxValue = 64 << 10
	// maxElements bounds those of all lists and maps of a message together. An empty one
	// takes two bytes on the wire and a hundred in memory.
	maxElements = 8192
	// maxDepth bounds messages in messages.
	maxDepth = 32
)

// ErrExceeded: a message has a longer text, or more elements, than any reader takes.
var ErrExceeded = errors.New("message exceeds what readers remember")

// prose are the fields of Leyline for people, with those that refer to files.
var prose = []protoreflect.Name{"reason", "rationale", "notes", "description", "summary", "artifact_ref", "string_value"}

// Envelope looks at a serialised BusEnvelope, but for its payload.
func Envelope(raw []byte) error { return check((*leyline.BusEnvelope)(nil), raw) }

// Payload looks at the serialised payload of the given kind.
func Payload(kind leyline.BusMessageType, raw []byte) error {
	if len(raw) <= MaxText {
		return nil
	}
	message := leyline.NewMessage(kind)
	if message == nil {
		return nil // nobody decodes it
	}
	return check(message, raw)
}

// check lets what is malformed pass: it is for the decoder to say so.
func check(kind proto.Message, raw []byte) error {
	if len(raw) <= MaxText {
		return nil // too short for any bound
	}
	c := checker{left: maxElements}
	return c.message(kind.ProtoReflect().Descriptor(), raw, maxDepth)
}

// checker counts the elements that one message may still have.
type checker struct{ left int }

func (c *checker) message(kind protoreflect.MessageDescriptor, raw []byte, depth int) error {
	if depth == 0 {
		return fmt.Errorf("%w: messages in each other deeper than %d", ErrExceeded, maxDepth)
	}
	for len(raw) > 0 {
		number, wire, n := protowire.ConsumeTag(raw)
		if n < 0 {
			return nil
		}
		size := protowire.ConsumeFieldValue(number, wire, raw[n:])
		if size < 0 {
			return nil
		}
		if field := kind.Fields().ByNumber(number); field != nil {
			if err := c.field(field, wire, raw[n:n+size], depth); err != nil {
				return err
			}
		}
		raw = raw[n+size:]
	}
	return nil
}

func (c *checker) field(field protoreflect.FieldDescriptor, wire protowire.Type, raw []byte, depth int) error {
	if field.Cardinality() == protoreflect.Repeated {
		if c.left--; c.left < 0 {
			return fmt.Errorf("%w: more than %d elements, the last of %s", ErrExceeded, maxElements, field.FullName())
		}
	}
	if wire != protowire.BytesType {
		return nil
	}
	value, _ := protowire.ConsumeBytes(raw)
	switch field.Kind() {
	case protoreflect.MessageKind:
		return c.message(field.Message(), value, depth-1)
	case protoreflect.StringKind:
		if most := textBound(field); len(value) > most {
			return fmt.Errorf("%w: %d bytes in %s, %d allowed", ErrExceeded, len(value), field.FullName(), most)
		}
	}
	return nil
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
