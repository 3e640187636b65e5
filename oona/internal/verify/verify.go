// Package verify tells what may be trusted. A Verifier opens entries: it checks their
// signature, their stream and what else their envelope must sign. An Identity is
// what a message is known by to the guard against replays, within Windows of time,
// and Recent holds the marks that this process has set. The client of oona asks it
// of whatever it reads.
package verify

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/bounds"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/signing"
)

// Verifier opens entries. It is safe for concurrent use.
type Verifier struct {
	Keyring    *signing.Keyring
	MaxPayload int // bytes of an envelope
}

// Open verifies that an entry is a message of somebody who has the secret, meant
// for the stream, and decodes its envelope; a failure comes with its reason. Strict
// refuses envelopes that do not sign their stream, time and nonce.
func (v *Verifier) Open(e entry.Entry, stream string, strict bool) (envelope.Envelope, string, error) {
	if !e.Found {
		return envelope.Envelope{}, deadletter.ReasonUndecodable, errors.New("entry has no payload field")
	}
	if len(e.Payload) > v.MaxPayload {
		return envelope.Envelope{}, deadletter.ReasonOversized, fmt.Errorf("%d bytes, %d allowed", len(e.Payload), v.MaxPayload)
	}
	raw := envelope.ReadOnly(e.Payload)
	if e.Signature != "" && signing.FormOf(raw) == signing.FormCommand {
		// Its signature may be right: one secret signs commands as well.
		return envelope.Envelope{}, deadletter.ReasonForeignForm, errors.New("has a field that no envelope has")
	}
	if err := v.Keyring.VerifyEnvelope(raw, e.Signature); err != nil {
		if errors.Is(err, signing.ErrMissingSignature) {
			return envelope.Envelope{}, deadletter.ReasonUnsigned, err
		}
		return envelope.Envelope{}, deadletter.ReasonBadSignature, err
	}
	if err := bounds.Envelope(raw); err != nil {
		return envelope.Envelope{}, deadletter.ReasonExcessive, err
	}
	env, err := envelope.Decode(raw, e.Payload)
	if err != nil {
		return env, deadletter.ReasonUndecodable, err
	}
	if err := excess(&env); err != nil {
		return env, deadletter.ReasonExcessive, err
	}
	if strict && !env.Bound() {
		return env, deadletter.ReasonUnbound, errors.New("envelope does not sign its stream, time and nonce")
	}
	if origin, told := env.Origin(); told && origin != stream {
		return env, deadletter.ReasonForeignStream, fmt.Errorf("signed for stream %q", origin)
	}
	return env, "", nil
}

// excess looks for what would be remembered of a message for longer than it is handled.
func excess(e *envelope.Envelope) error {
	if n := len(e.Nonce()); n > bounds.MaxText {
		return fmt.Errorf("%w: %d bytes in the nonce, %d allowed", bounds.ErrExceeded, n, bounds.MaxText)
	}
	return bounds.Payload(e.Kind, e.Payload)
}
