package oona

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

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

// Field numbers of BusEnvelope.
const (
	fieldType       protowire.Number = 1
	fieldPayload    protowire.Number = 2
	fieldAttributes protowire.Number = 3
)

var errMalformedEnvelope = errors.New("malformed envelope")

// envelope is a decoded BusEnvelope. Its strings share the memory of the bytes
// the text it was decoded from.
type envelope struct {
	kind       leyline.BusMessageType
	payload    []byte
	attributes map[string]string
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
		e.kind = leyline.BusMessageType(int32(v)) //nolint:gosec // protobuf enums are truncated to 32 bits
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
	if e.attributes == nil {
		e.attributes = make(map[string]string, 4)
	}
	e.attributes[key] = value
	return nil
}

// encode returns the entry fields of one message: the envelope bytes, as a
// string for the wire, and their signature.
func (c *Client) encode(m Message, now time.Time) (payload, signature string, err error) {
	kind := leyline.TypeOf(m.Payload)
	if leyline.NewMessage(kind) == nil {
		return "", "", fmt.Errorf("%w: %T", ErrNotPublishable, m.Payload)
	}
	size := proto.Size(m.Payload)
	if size > c.cfg.MaxPayload {
		return "", "", fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, size, c.cfg.MaxPayload)
	}
	buf := make([]byte, 0, size+160)
	buf = protowire.AppendTag(buf, fieldType, protowire.VarintType)
	buf = protowire.AppendVarint(buf, uint64(kind)) //nolint:gosec // known types are positive
	buf = protowire.AppendTag(buf, fieldPayload, protowire.BytesType)
	buf = protowire.AppendVarint(buf, uint64(size)) //nolint:gosec // sizes are positive
	if buf, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(buf, m.Payload); err != nil {
		return "", "", fmt.Errorf("encode %s: %w", kind, err)
	}
	buf = c.appendAttributes(buf, m, now)
	if len(buf) > c.cfg.MaxPayload {
		return "", "", fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, len(buf), c.cfg.MaxPayload)
	}
	return rueidis.BinaryString(buf), c.cfg.Keyring.SignEnvelope(buf), nil
}

func (c *Client) appendAttributes(buf []byte, m Message, now time.Time) []byte {
	for _, key := range sortedKeys(m.Attributes) {
		buf = appendAttribute(buf, key, m.Attributes[key])
	}
	// Last wins in a map field: ours cannot be overridden by the caller.
	buf = appendAttribute(buf, attributeKeyID, c.cfg.Keyring.KeyID())
	buf = appendAttribute(buf, attributeStream, m.Stream)
	buf = appendAttribute(buf, attributeIssuedAt, strconv.FormatInt(now.UnixMilli(), 10))
	return appendAttribute(buf, attributeNonce, strconv.FormatUint(rand.Uint64(), 36))
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
	buf = protowire.AppendVarint(buf, uint64(size)) //nolint:gosec // sizes are positive
	buf = protowire.AppendTag(buf, 1, protowire.BytesType)
	buf = protowire.AppendString(buf, key)
	buf = protowire.AppendTag(buf, 2, protowire.BytesType)
	return protowire.AppendString(buf, value)
}
