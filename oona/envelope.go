package oona

import (
	"errors"
	"maps"
	"math/rand/v2"
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

	attributeOnce        = "once"          // the nonce is the name of the message, for good
	attributeReplayedOf  = "replayed_from" // id of the dead letter this is the replay of
	attributeReplayGroup = "replay_group"  // the one group the replay is for
)

// Field numbers of BusEnvelope.
const (
	fieldType       protowire.Number = 1
	fieldPayload    protowire.Number = 2
	fieldAttributes protowire.Number = 3
)

var errMalformedEnvelope = errors.New("malformed envelope")

// envelope is a decoded BusEnvelope. Its strings share the memory of the text
// it was decoded from.
type envelope struct {
	kind       leyline.BusMessageType
	payload    []byte
	own        [ownCount]attribute // those that every client of this package sets
	attributes map[string]string   // the others
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

// all returns every attribute.
func (e *envelope) all() map[string]string {
	attributes := make(map[string]string, len(e.attributes)+ownCount)
	maps.Copy(attributes, e.attributes)
	for i, own := range e.own {
		if own.set {
			attributes[ownNames[i]] = own.value
		}
	}
	return attributes
}

func (e *envelope) setAttribute(key, value string) {
	if i := slices.Index(ownNames[:], key); i >= 0 {
		e.own[i] = attribute{value: value, set: true}
		return
	}
	if e.attributes == nil {
		e.attributes = make(map[string]string)
	}
	e.attributes[key] = value
}

// decodeEnvelope reads a BusEnvelope by hand: reflection would cost more than
// everything else the client does to a message. It accepts exactly what
// proto.Unmarshal accepts. raw and text are the same bytes.
func decodeEnvelope(raw []byte, text string) (envelope, error) {
	var e envelope
	for rest := raw; len(rest) > 0; {
		number, wire, n := protowire.ConsumeTag(rest)
		if n < 0 || number > protowire.MaxValidNumber {
			return envelope{}, errMalformedEnvelope
		}
		rest = rest[n:]
		n, err := e.decodeField(number, wire, rest, text[len(text)-len(rest):])
		if err != nil {
			return envelope{}, err
		}
		rest = rest[n:]
	}
	return e, nil
}

func (e *envelope) decodeField(number protowire.Number, wire protowire.Type, b []byte, s string) (int, error) {
	n := protowire.ConsumeFieldValue(number, wire, b)
	if n < 0 {
		return 0, errMalformedEnvelope
	}
	switch {
	case number == fieldType && wire == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(b)
		e.kind = leyline.BusMessageType(int32(v))
	case number == fieldPayload && wire == protowire.BytesType:
		e.payload, _ = protowire.ConsumeBytes(b)
	case number == fieldAttributes && wire == protowire.BytesType:
		entry, _ := protowire.ConsumeBytes(b)
		return n, e.decodeAttribute(entry, s[n-len(entry):n])
	}
	return n, nil
}

func (e *envelope) decodeAttribute(b []byte, s string) error {
	var key, value string
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 || number > protowire.MaxValidNumber {
			return errMalformedEnvelope
		}
		b, s = b[n:], s[n:]
		if n = protowire.ConsumeFieldValue(number, wire, b); n < 0 {
			return errMalformedEnvelope
		}
		if wire == protowire.BytesType && number <= 2 {
			text, _ := protowire.ConsumeBytes(b)
			if !utf8.Valid(text) {
				return errMalformedEnvelope
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

func appendAttributes(buf []byte, m Message, keyID string, now time.Time) []byte {
	for _, key := range sortedKeys(m.Attributes) {
		buf = appendAttribute(buf, key, m.Attributes[key])
	}
	// Last wins in a map field: ours cannot be overridden by the caller.
	buf = appendAttribute(buf, attributeKeyID, keyID)
	buf = appendAttribute(buf, attributeStream, m.Stream)
	var digits [20]byte
	buf = appendAttribute(buf, attributeIssuedAt, string(strconv.AppendInt(digits[:0], now.UnixMilli(), 10)))
	if m.Once == "" {
		return appendAttribute(buf, attributeNonce, string(strconv.AppendUint(digits[:0], rand.Uint64(), 36)))
	}
	buf = appendAttribute(buf, attributeOnce, "1")
	return appendAttribute(buf, attributeNonce, m.Once)
}

func sortedKeys(attributes map[string]string) []string {
	if len(attributes) == 0 {
		return nil
	}
	keys := make([]string, 0, len(attributes))
	for key := range attributes {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func appendAttribute(buf []byte, key, value string) []byte {
	size := 2 + len(key) + len(value) + protowire.SizeVarint(uint64(len(key))) + protowire.SizeVarint(uint64(len(value)))
	buf = protowire.AppendTag(buf, fieldAttributes, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(size))
	buf = protowire.AppendTag(buf, 1, protowire.BytesType)
	buf = protowire.AppendString(buf, key)
	buf = protowire.AppendTag(buf, 2, protowire.BytesType)
	return protowire.AppendString(buf, value)
}

// readOnly is the bytes of a text, which nobody may change.
func readOnly(text string) []byte {
	return unsafe.Slice(unsafe.StringData(text), len(text)) //nolint:gosec // saves a copy of every message
}
