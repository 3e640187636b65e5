package kernel

import (
	"errors"
	"fmt"
)

var (
	// ErrProfile is what every refusal of an ONNX file wraps.
	ErrProfile = errors.New("kernel: outside the profile")
	// ErrShape reports operands whose shapes do not fit the operation.
	ErrShape = errors.New("kernel: shapes do not fit")
	// ErrValue reports a Value of another tape, or of a tape since Reset.
	ErrValue = errors.New("kernel: value does not belong to this tape")
	// ErrTooLarge reports a batch whose values would pass the memory bound.
	ErrTooLarge = errors.New("kernel: batch too large")
)

// ProfileError says why an ONNX file was refused. It is ErrProfile.
type ProfileError struct {
	Reason string
}

// Error names the reason.
func (e *ProfileError) Error() string { return ErrProfile.Error() + ": " + e.Reason }

// Unwrap makes every refusal match ErrProfile.
func (e *ProfileError) Unwrap() error { return ErrProfile }

func refuse(format string, args ...any) error {
	return &ProfileError{Reason: fmt.Sprintf(format, args...)}
}

// reasonOf is the reason of a refusal, for the refusal that names its place.
func reasonOf(err error) string {
	if profile, ok := errors.AsType[*ProfileError](err); ok {
		return profile.Reason
	}
	return err.Error()
}

func shapeError(op, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", op, ErrShape, fmt.Sprintf(format, args...))
}
