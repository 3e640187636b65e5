package policy

import (
	"context"
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// ErrNoPayload says that there is no payload of a checksum, or none to be trusted.
var ErrNoPayload = errors.New("no such payload")

// fetch reads the payload and compares it with what its update promised.
func (s *Store) fetch(ctx context.Context, r payloads.Reference, id string) ([]byte, error) {
	payload, err := s.config.Fetch(ctx, r.Checksum, r.Size+1) // one more shows what is longer
	switch {
	case errors.Is(err, ErrNoPayload):
		return nil, &RejectedError{Reason: ReasonMissing, PolicyID: id}
	case err != nil:
		return nil, fmt.Errorf("fetch payload %s: %w", r.Checksum, err)
	case len(payload) != r.Size || payloads.Digest(payload) != r.Checksum:
		return nil, &RejectedError{Reason: ReasonMismatch, PolicyID: id}
	}
	return payload, nil
}
