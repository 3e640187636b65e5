package urza

import (
	"errors"
	"fmt"

	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

var (
	// ErrNotFound: the catalogue was asked and holds no usable row for the blueprint.
	ErrNotFound = fault.ErrNotFound
	// ErrUnavailable: the catalogue or the store could not be asked (breaker open, database
	// or disk failing, library closed). Retry; it never means that a kernel is missing.
	ErrUnavailable = fault.ErrUnavailable
	// ErrUnreadable: this one artifact cannot be read, although its store answers: it is
	// not permitted, its blocks are bad, or it is in a store that is not ours to ask. An
	// operator has to see to it; it does not mean that the kernel is gone.
	ErrUnreadable = fault.ErrUnreadable
	// ErrArtifactMissing: the row is there, its file is not.
	ErrArtifactMissing = fault.ErrArtifactMissing
	// ErrChecksumMismatch: the file's content is, or was when it was set aside, not
	// what the row promises.
	ErrChecksumMismatch = fault.ErrChecksumMismatch
	// ErrWithheld: kernel and file are there, but not for use: an operator set the
	// blueprint aside, or an approval or a trusted signature is missing.
	ErrWithheld = fault.ErrWithheld
	// ErrUntrusted is an ErrWithheld: no trusted key signed the artifact.
	ErrUntrusted = fault.ErrUntrusted
	// ErrNotCompilable: there is no such network for the slot that was asked for.
	ErrNotCompilable = errors.New("blueprint not compilable for the slot")
	// ErrInvalidParameters: the blueprint does not declare them, or not in these bounds.
	ErrInvalidParameters = errors.New("invalid parameters")
	// ErrTooManyVariants: the blueprint has as many variants as are kept, and each was
	// used within the last hour.
	ErrTooManyVariants = fault.ErrTooManyVariants
	// ErrUnsupportedDatabase: the database URL names a server this build cannot use.
	ErrUnsupportedDatabase = catalogue.ErrUnsupportedDatabase
	// ErrSigningKey: the signing key of the configuration cannot be read, or its
	// password is wrong.
	ErrSigningKey = fault.ErrSigningKey
)

// RowError is a catalogue row that cannot be read. It is an ErrNotFound: there is
// no usable record, and saving the blueprint again replaces the row.
type RowError struct {
	BlueprintID string
	Reason      string
}

func (e *RowError) Error() string {
	return fmt.Sprintf("catalogue row %q unreadable: %s", e.BlueprintID, e.Reason)
}

// Is makes errors.Is(err, ErrNotFound) true.
func (e *RowError) Is(target error) bool { return target == ErrNotFound }
