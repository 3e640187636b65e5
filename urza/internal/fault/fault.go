// Package fault has the errors that the rooms of the kernel library share, so that a
// caller finds the same ones whichever room met them. Package urza exports them; its
// rooms return them.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// These are urza's errors of the same names.
var (
	ErrNotFound         = errors.New("blueprint not in the catalogue")
	ErrUnavailable      = errors.New("catalogue unavailable")
	ErrUnreadable       = errors.New("artifact not readable")
	ErrArtifactMissing  = errors.New("artifact file missing")
	ErrChecksumMismatch = errors.New("artifact checksum mismatch")
	ErrWithheld         = errors.New("kernel withheld")
	ErrUntrusted        = fmt.Errorf("%w: no signature by a trusted key", ErrWithheld)
	ErrTooManyVariants  = errors.New("too many variants of the blueprint in use")
	ErrSigningKey       = errors.New("signing key")
)

// ErrChanged: a row or an artifact changed while it was being examined; look again.
var ErrChanged = errors.New("changed while being examined")

// OfContext reports whether a context ended before the work did.
func OfContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
