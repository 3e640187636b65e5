package oona

import (
	"fmt"
	"runtime"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// encodeShare is how many messages make it worth while to occupy one more
	// processor: the bus is waiting for them.
	encodeShare = 32
	// sealRoom is what a message needs besides its payload: the attributes of
	// every envelope and the signature.
	sealRoom = 192 + 44
	// slabSize bounds one allocation for many messages.
	slabSize = 64 << 10
)

// candidate is a message on its way to becoming a draft.
type candidate struct {
	draft
	message Message
	err     error // why it may not go
}

// encodeAll encodes and signs what may go, on several processors when there is
// much of it. The order stays.
func (c *Client) encodeAll(candidates []candidate, now time.Time) {
	shares := max(1, min(runtime.GOMAXPROCS(0), len(candidates)/encodeShare))
	size := (len(candidates) + shares - 1) / shares
	var others sync.WaitGroup
	for len(candidates) > size {
		share := candidates[:size]
		candidates = candidates[size:]
		others.Go(func() { c.encodeShare(share, now) })
	}
	c.encodeShare(candidates, now)
	others.Wait()
}

func (c *Client) encodeShare(candidates []candidate, now time.Time) {
	room := slab{left: len(candidates)}
	for i := range candidates {
		if one := &candidates[i]; one.err == nil {
			one.payload, one.signature, one.err = c.encode(one.message, now, &room)
		}
	}
}

// slab gives room to the messages of one batch, which are much alike, from few
// allocations.
type slab struct {
	free []byte
	left int // messages that will still ask
}

// take returns an empty slice of the given capacity.
func (s *slab) take(size int) []byte {
	if size > len(s.free) {
		s.free = make([]byte, max(size, min(size*s.left, slabSize)))
	}
	s.left--
	room := s.free[:0:size]
	s.free = s.free[size:]
	return room
}

// encode returns the entry fields of one message: the envelope bytes, as a
// string for the wire, and their signature.
func (c *Client) encode(m Message, now time.Time, room *slab) (payload, signature string, err error) {
	kind := leyline.TypeOf(m.Payload)
	if leyline.NewMessage(kind) == nil {
		return "", "", fmt.Errorf("%w: %T", ErrNotPublishable, m.Payload)
	}
	size := proto.Size(m.Payload)
	if size > c.cfg.MaxPayload {
		return "", "", fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, size, c.cfg.MaxPayload)
	}
	buf := appendEnvelope(room.take(size+sealRoom), kind, size)
	if buf, err = (proto.MarshalOptions{UseCachedSize: true}).MarshalAppend(buf, m.Payload); err != nil {
		return "", "", fmt.Errorf("%w: encode %s: %w", ErrNotPublishable, kind, err)
	}
	if !legible(m) {
		return "", "", fmt.Errorf("%w: attributes are not UTF-8", ErrNotPublishable)
	}
	return c.seal(buf, m, now)
}

// legible reports whether the attributes of a message are text: readers refuse
// envelopes with others.
func legible(m Message) bool {
	for key, value := range m.Attributes {
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return false
		}
	}
	return utf8.ValidString(m.Once) && utf8.ValidString(m.Stream)
}

// appendEnvelope begins an envelope, up to the payload of the given size.
func appendEnvelope(buf []byte, kind leyline.BusMessageType, size int) []byte {
	buf = protowire.AppendTag(buf, fieldType, protowire.VarintType)
	buf = protowire.AppendVarint(buf, uint64(kind))
	buf = protowire.AppendTag(buf, fieldPayload, protowire.BytesType)
	return protowire.AppendVarint(buf, uint64(size))
}

// seal ends an envelope with its attributes and signs it. Both strings share the
// memory of the buffer.
func (c *Client) seal(buf []byte, m Message, now time.Time) (payload, signature string, err error) {
	signer := c.cfg.Keyring.Signer()
	buf = appendAttributes(buf, m, signer.KeyID(), now)
	if len(buf) > c.cfg.MaxPayload {
		return "", "", fmt.Errorf("%w: %d bytes, %d allowed", ErrTooLarge, len(buf), c.cfg.MaxPayload)
	}
	text := rueidis.BinaryString(signer.AppendSignature(buf, buf))
	return text[:len(buf)], text[len(buf):], nil
}
