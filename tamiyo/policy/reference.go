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

// reference names a payload by its content.
type reference struct {
	checksum string // hex SHA-256
	size     int    // bytes
}

// ReferTo are the attributes with which the envelope of an update refers to a payload that is
// too large for the bus: whoever publishes it lays it where the service's Config.Fetch finds it.
func ReferTo(payload []byte) map[string]string {
	return map[string]string{attributeChecksum: digestOf(payload), attributeSize: strconv.Itoa(len(payload))}
}

var errReference = errors.New("a reference wants " + attributeChecksum + " and " + attributeSize)

// readReference reads it from attributes, which need not refer to anything.
func readReference(attributes map[string]string) (r reference, refers bool, err error) {
	sum, named := attributes[attributeChecksum]
	size, sized := attributes[attributeSize]
	if !named && !sized {
		return r, false, nil
	}
	digest, err := hex.DecodeString(sum)
	r.checksum = hex.EncodeToString(digest)
	if r.size, _ = strconv.Atoi(size); err != nil || len(digest) != sha256.Size || r.size <= 0 {
		return reference{}, true, errReference
	}
	return r, true, nil
}

// fetch reads the payload and compares it with what its update promised.
func (s *Store) fetch(ctx context.Context, r reference, id string) ([]byte, error) {
	payload, err := s.config.Fetch(ctx, r.checksum, r.size+1) // one more shows what is longer
	switch {
	case errors.Is(err, ErrNoPayload):
		return nil, &RejectedError{Reason: ReasonMissing, PolicyID: id}
	case err != nil:
		return nil, fmt.Errorf("fetch payload %s: %w", r.checksum, err)
	case len(payload) != r.size || digestOf(payload) != r.checksum:
		return nil, &RejectedError{Reason: ReasonMismatch, PolicyID: id}
	}
	return payload, nil
}
