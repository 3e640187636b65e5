package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

// Attributes of the envelope of an update whose payload is elsewhere.
const (
	attributeChecksum = "payload_sha256"
	attributeSize     = "payload_bytes"
)

// ErrNoPayload says that there is no payload of a checksum, or none to be trusted.
var ErrNoPayload = errors.New("no such payload")

// Reference names a payload that is too large for the bus, by its content: whoever
// publishes it lays it where the service's Config.Fetch finds it.
type Reference struct {
	Checksum string // hex SHA-256
	Size     int    // bytes
}

// ReferTo is the reference to a payload.
func ReferTo(payload []byte) Reference {
	return Reference{Checksum: digestOf(payload), Size: len(payload)}
}

// Attributes are those that an envelope needs to refer.
func (r Reference) Attributes() map[string]string {
	return map[string]string{attributeChecksum: r.Checksum, attributeSize: strconv.Itoa(r.Size)}
}

var errReference = errors.New("a reference wants " + attributeChecksum + " and " + attributeSize)

// readReference reads it from attributes, which need not refer to anything.
func readReference(attributes map[string]string) (r Reference, refers bool, err error) {
	sum, named := attributes[attributeChecksum]
	size, sized := attributes[attributeSize]
	if !named && !sized {
		return r, false, nil
	}
	digest, err := hex.DecodeString(sum)
	r.Checksum = hex.EncodeToString(digest)
	if r.Size, _ = strconv.Atoi(size); err != nil || len(digest) != sha256.Size || r.Size <= 0 {
		return Reference{}, true, errReference
	}
	return r, true, nil
}

// fetch reads the payload and compares it with what its update promised.
func (s *Store) fetch(ctx context.Context, r Reference, id string) ([]byte, error) {
	payload, err := s.config.Fetch(ctx, r.Checksum, r.Size+1) // one more shows what is longer
	switch {
	case errors.Is(err, ErrNoPayload):
		return nil, &RejectedError{Reason: ReasonMissing, PolicyID: id}
	case err != nil:
		return nil, fmt.Errorf("fetch payload %s: %w", r.Checksum, err)
	case len(payload) != r.Size || digestOf(payload) != r.Checksum:
		return nil, &RejectedError{Reason: ReasonMismatch, PolicyID: id}
	}
	return payload, nil
}
