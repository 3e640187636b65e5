package envelope

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
	"github.com/esper-lite/weatherlight/oona/internal/bounds"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	// sealRoom is what a message needs besides its payload: the attributes of
	// every envelope and the signature.
	sealRoom = 192 + 44
	// slabSize bounds one allocation for many messages.
	slabSize = 64 << 10
)

var (
	// ErrTooLarge: the envelope exceeds its bound; it will never be accepted.
	ErrTooLarge = errors.New("message too large")
	// ErrNotPublishable: the payload is no bus message, or lacks what its readers
	// cannot do without.
	ErrNotPublishable = errors.New("not a publishable bus message")
)

// Content is what an envelope is to say, beside what every envelope says.
type Content struct {
	Stream     string
	Payload    proto.Message
	Attributes map[string]string
	Once       string // the name of the message, for good; "": a random nonce
}

// Draft is one sealed message that is ready for its stream.
type Draft struct {
	Stream             string
	Payload, Signature string
	Sealed             time.Time
}

// Sealer makes signed envelopes of at most so many bytes. It is safe for
// concurrent use.
type Sealer struct {
	Keyring    *signing.Keyring
	MaxPayload int
}

// Slab gives room to the messages of one batch, which are much alike, from few
// allocations.
type Slab struct {
	free []byte
	Left int // messages that will still ask
}

// take returns an empty slice of the given capacity.
func (s *Slab) take(size int) []byte {
	if size > len(s.free) {
		s.free = make([]byte, max(size, min(size*s.Left, slabSize)))
	}
	s.Left--
	room := s.free[:0:size]
	s.free = s.free[size:]
	return room
}

// Seal makes the envelope of a message.
func (s *Sealer) Seal(c Content, now time.Time, room *Slab) (Draft, error) {
	kind := leyline.TypeOf(c.Payload)
	if leyline.NewMessage(kind) == nil {
		return Draft{}, fmt.Errorf("%w: %T", ErrNotPublishable, c.Payload)
	}
	size := proto.Size(c.Payload)
	if size > s.MaxPayload {
		return Draft{}, fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, size, s.MaxPayload)
	}
	buf := appendEnvelope(room.take(size+sealRoom), kind, size)
	buf, err := (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(buf, c.Payload)
	if err != nil {
		return Draft{}, fmt.Errorf("%w: encode %s: %w", ErrNotPublishable, kind, err)
	}
	if err := bounds.Payload(kind, buf[len(buf)-size:]); err != nil {
		return Draft{}, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	if !legible(c) {
		return Draft{}, fmt.Errorf("%w: attributes are not UTF-8", ErrNotPublishable)
	}
	return s.finish(buf, c, now)
}

// SealBytes makes the envelope of a payload that is encoded already; c has none.
func (s *Sealer) SealBytes(kind leyline.BusMessageType, payload []byte, c Content, now time.Time) (Draft, error) {
	buf := make([]byte, 0, len(payload)+2*sealRoom)
	return s.finish(append(appendEnvelope(buf, kind, len(payload)), payload...), c, now)
}

// finish ends an envelope with its attributes and signs it. Both strings of the
// draft share the memory of the buffer.
func (s *Sealer) finish(buf []byte, c Content, now time.Time) (Draft, error) {
	signer := s.Keyring.Signer()
	buf = appendAttributes(buf, c, signer.KeyID(), now)
	if len(buf) > s.MaxPayload {
		return Draft{}, fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, len(buf), s.MaxPayload)
	}
	if err := bounds.Envelope(buf); err != nil {
		return Draft{}, fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	text := rueidis.BinaryString(signer.AppendSignature(buf, buf))
	return Draft{Stream: c.Stream, Payload: text[:len(buf)], Signature: text[len(buf):], Sealed: now}, nil
}

// Renew dates a draft anew. It keeps its nonce: published twice, it is still
// one message.
func (s *Sealer) Renew(d Draft, now time.Time) Draft {
	e, err := Decode([]byte(d.Payload), d.Payload)
	if err != nil {
		return d // impossible: it was sealed here
	}
	signer := s.Keyring.Signer()
	buf := appendEnvelope(make([]byte, 0, len(d.Payload)), e.Kind, len(e.Payload))
	buf = append(buf, e.Payload...)
	for _, key := range sortedKeys(e.Attributes) {
		buf = appendAttribute(buf, key, e.Attributes[key])
	}
	buf = appendAttribute(buf, attributeKeyID, signer.KeyID())
	buf = appendAttribute(buf, attributeStream, d.Stream)
	buf = appendAttribute(buf, attributeIssuedAt, strconv.FormatInt(now.UnixMilli(), 10))
	buf = appendAttribute(buf, attributeNonce, e.Nonce())
	d.Payload, d.Signature, d.Sealed = rueidis.BinaryString(buf), signer.SignEnvelope(buf), now
	return d
}

// legible reports whether the attributes of a message are text: readers refuse
// envelopes with others.
func legible(c Content) bool {
	for key, value := range c.Attributes {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return false
		}
	}
	return utf8.ValidString(c.Once) && utf8.ValidString(c.Stream)
}

// appendEnvelope begins an envelope, up to the payload of the given size.
func appendEnvelope(buf []byte, kind leyline.BusMessageType, size int) []byte {
	buf = protowire.AppendTag(buf, fieldType, protowire.VarintType)
	buf = protowire.AppendVarint(buf, uint64(kind))
	buf = protowire.AppendTag(buf, fieldPayload, protowire.BytesType)
	return protowire.AppendVarint(buf, uint64(size))
}

func appendAttributes(buf []byte, c Content, keyID string, now time.Time) []byte {
	for _, key := range sortedKeys(c.Attributes) {
		buf = appendAttribute(buf, key, c.Attributes[key])
	}
	// Last wins in a map field: ours cannot be overridden by the caller.
	buf = appendAttribute(buf, attributeKeyID, keyID)
	buf = appendAttribute(buf, attributeStream, c.Stream)
	var digits [20]byte
	buf = appendAttribute(buf, attributeIssuedAt, string(strconv.AppendInt(digits[:0], now.UnixMilli(), 10)))
	if c.Once == "" {
		return appendAttribute(buf, attributeNonce, string(strconv.AppendUint(digits[:0], rand.Uint64(), 36)))
	}
	buf = appendAttribute(buf, Once, "1")
	return appendAttribute(buf, attributeNonce, c.Once)
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
