package payloads

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
)

// Attributes of the envelope of an update whose payload is elsewhere.
const (
	attributeChecksum = "payload_sha256"
	attributeSize     = "payload_bytes"
)

// Reference names a payload that is too large for the bus, by its content: whoever
// publishes it lays it where the store's Config.Fetch finds it.
type Reference struct {
	Checksum string // hex SHA-256
	Size     int    // bytes
}

// ReferTo is the reference to a payload.
func ReferTo(payload []byte) Reference {
	return Reference{Checksum: Digest(payload), Size: len(payload)}
}

// Attributes are those that an envelope needs to refer.
func (r Reference) Attributes() map[string]string {
	return map[string]string{attributeChecksum: r.Checksum, attributeSize: strconv.Itoa(r.Size)}
}

var errReference = errors.New("a reference wants " + attributeChecksum + " and " + attributeSize)

// Refer reads a reference from attributes, which need not refer to anything.
func Refer(attributes map[string]string) (r Reference, refers bool, err error) {
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
