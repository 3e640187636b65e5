// Package envelope is the form of a message on the bus. Decode reads an Envelope;
// a Sealer makes signed ones, of which a Draft holds one that is ready for its
// stream; a Slab gives room to many of them. Whoever publishes seals, and whoever
// verifies, or shows what a dead letter holds, decodes.
package envelope

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/esper-lite/weatherlight/leyline"
)

// Attributes the client signs into every envelope it publishes. They bind an
// envelope to its stream and time, which the entry form itself does not.
const (
	attributeKeyID    = "key_id"
	attributeStream   = "stream"
	attributeIssuedAt = "issued_at_ms" // unix milliseconds
	attributeNonce    = "nonce"
)

// Attributes of some envelopes.
const (
	Once        = "once"          // the nonce is the name of the message, for good
	ReplayedOf  = "replayed_from" // id of the dead letter this is the replay of
	ReplayGroup = "replay_group"  // the one group the replay is for
)

// Field numbers of BusEnvelope.
const (
	fieldType       protowire.Number = 1
	fieldPayload    protowire.Number = 2
	fieldAttributes protowire.Number = 3
)

var errMalformed = errors.New("malformed envelope")

// Envelope is a decoded BusEnvelope. Its strings share the memory of the text
// it was decoded from.
type Envelope struct {
	Kind       leyline.BusMessageType
	Payload    []byte
	own        [ownCount]attribute // those that every client of this package sets
	Attributes map[string]string   // the others
}

// attribute is one of our own: kept apart, since a map costs more than the rest
// of decoding.
type attribute struct {
	value string
	set   bool
}

const (
	ownKeyID = iota
	ownStream
	ownIssuedAt
	ownNonce
	ownCount
)

var ownNames = [ownCount]string{attributeKeyID, attributeStream, attributeIssuedAt, attributeNonce}

// All returns every attribute.
func (e *Envelope) All() map[string]string {
	attributes := make(map[string]string, len(e.Attributes)+ownCount)
	maps.Copy(attributes, e.Attributes)
	for i, own := range e.own {
		if own.set {
			attributes[ownNames[i]] = own.value
		}
	}
	return attributes
}

func (e *Envelope) setAttribute(key, value string) {
	if i := slices.Index(ownNames[:], key); i >= 0 {
		e.own[i] = attribute{value: value, set: true}
		return
	}
	if e.Attributes == nil {
		e.Attributes = make(map[string]string)
	}
	e.Attributes[key] = value
}

// Decode reads a BusEnvelope by hand: reflection would cost more than
// everything else the client does to a message. It accepts exactly what
// proto.Unmarshal accepts. raw and text are the same bytes.
func Decode(raw []byte, text string) (Envelope, error) {
	var e Envelope
	for rest := raw; len(rest) > 0; {
		number, wire, n := protowire.ConsumeTag(rest)
		if n < 0 || number > protowire.MaxValidNumber {
			return Envelope{}, errMalformed
		}
		rest = rest[n:]
		n, err := e.decodeField(number, wire, rest, text[len(text)-len(rest):])
		if err != nil {
			return Envelope{}, err
		}
		rest = rest[n:]
	}
	return e, nil
}

func (e *Envelope) decodeField(number protowire.Number, wire protowire.Type, b []byte, s string) (int, error) {
	n := protowire.ConsumeFieldValue(number, wire, b)
	if n < 0 {
		return 0, errMalformed
	}
	switch {
	case number == fieldType && wire == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(b)
		e.Kind = leyline.BusMessageType(int32(v))
	case number == fieldPayload && wire == protowire.BytesType:
		e.Payload, _ = protowire.ConsumeBytes(b)
	case number == fieldAttributes && wire == protowire.BytesType:
		entry, _ := protowire.ConsumeBytes(b)
		return n, e.decodeAttribute(entry, s[n-len(entry):n])
	}
	return n, nil
}

func (e *Envelope) decodeAttribute(b []byte, s string) error {
	var key, value string
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 || number > protowire.MaxValidNumber {
			return errMalformed
		}
		b, s = b[n:], s[n:]
		if n = protowire.ConsumeFieldValue(number, wire, b); n < 0 {
			return errMalformed
		}
		if wire == protowire.BytesType && number <= 2 {
			text, _ := protowire.ConsumeBytes(b)
			if !utf8.Valid(text) {
				return errMalformed
			}
			if number == 1 {
				key = s[n-len(text) : n]
			} else {
				value = s[n-len(text) : n]
			}
		}
		b, s = b[n:], s[n:]
	}
	e.setAttribute(key, value)
	return nil
}

// Origin is the stream that the envelope was signed for; false when it tells none.
func (e *Envelope) Origin() (stream string, told bool) {
	return e.own[ownStream].value, e.own[ownStream].set
}

// Nonce tells the envelope from others of the same content; "" when it has none.
func (e *Envelope) Nonce() string { return e.own[ownNonce].value }

// SignedAt reads the issue time out of the signed attributes: zero when it is
// not told, the beginning of time when it cannot be read.
func (e *Envelope) SignedAt() time.Time {
	issued := e.own[ownIssuedAt]
	if !issued.set {
		return time.Time{}
	}
	ms, err := strconv.ParseInt(issued.value, 10, 64)
	if err != nil {
		ms = 0
	}
	return time.UnixMilli(ms)
}

// Bound reports whether the envelope carries every attribute that keeps it from
// being replayed elsewhere or later.
func (e *Envelope) Bound() bool {
	for _, attribute := range e.own {
		if attribute.value == "" {
			return false
		}
	}
	return true
}

// MeantFor reports whether a group handles the message: the replay of a dead
// letter is for the group that gave up, and invisible to the others.
func (e *Envelope) MeantFor(group string) bool {
	target, targeted := e.Attributes[ReplayGroup]
	return !targeted || target == group
}

// ReadOnly is the bytes of a text, which nobody may change.
func ReadOnly(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text)) //nolint:gosec // saves a copy of every message
}
