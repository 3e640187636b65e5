// Package bounds says how much one message may make its readers remember. It looks at
// serialised bytes before anything is made of them; whoever verifies refuses what is beyond
// the bounds, and whoever seals does not send it.
package bounds

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

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

// Envelope looks at a serialised BusEnvelope, but for its payload.
func Envelope(raw []byte) error {
	if short(raw) {
		return nil
	}
	return check(shapes().envelope, raw)
}

// Payload looks at the serialised payload of the given kind.
func Payload(kind leyline.BusMessageType, raw []byte) error {
	if short(raw) {
		return nil
	}
	return check(shapes().payloads[kind], raw)
}

// short reports whether bytes are too few for any bound.
func short(raw []byte) bool { return len(raw) <= MaxText }

// check lets what is malformed, or nobody decodes, pass: it is for the decoder to say so.
func check(kind *shape, raw []byte) error {
	if kind == nil {
		return nil
	}
	c := checker{left: maxElements, few: len(raw) <= 2*maxElements}
	return c.message(kind, raw, maxDepth)
}

// checker counts the elements that one message may still have.
type checker struct {
	left int
	few  bool // so few bytes hold no more elements than are allowed
}

func (c *checker) message(kind *shape, raw []byte, depth int) error {
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
		if int(number) < len(kind.fields) {
			if err := c.field(&kind.fields[number], wire, raw[n:n+size], depth); err != nil {
				return err
			}
		}
		raw = raw[n+size:]
	}
	return nil
}

func (c *checker) field(field *field, wire protowire.Type, raw []byte, depth int) error {
	if field.repeated {
		if c.left--; c.left < 0 {
			return fmt.Errorf("%w: more than %d elements, the last of %s", ErrExceeded, maxElements, field.name)
		}
	}
	if wire != protowire.BytesType || field.message == nil && field.most == 0 {
		return nil
	}
	value, _ := protowire.ConsumeBytes(raw)
	switch {
	case field.message == nil && len(value) > field.most:
		return fmt.Errorf("%w: %d bytes in %s, %d allowed", ErrExceeded, len(value), field.name, field.most)
	case field.message == nil, c.few && len(value) <= MaxText && !field.message.nests:
		return nil // most parts of most messages
	default:
		return c.message(field.message, value, depth-1)
	}
}
