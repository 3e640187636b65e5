package process

import (
	"context"
	"errors"
)

// ExitStopped is the end of a command by a signal, as a shell tells of SIGINT.
const ExitStopped = 130

// StoppedError is the end of a command by a signal, before it had done what it was asked to do.
type StoppedError struct{ Err error }

// Stopped is why a command ended whose context is ctx: a StoppedError when a signal did it, else
// what ended the context, or else err.
func Stopped(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case err == nil:
		return nil
	case errors.Is(cause, ErrSignal):
		return &StoppedError{cause}
	case cause != nil && !errors.Is(cause, context.Canceled):
		return cause
	default:
		return err
	}
}

func (e *StoppedError) Error() string { return "stopped" }
func (e *StoppedError) Unwrap() error { return e.Err }

// Exit is the code of the end.
func (e *StoppedError) Exit() int { return ExitStopped }
