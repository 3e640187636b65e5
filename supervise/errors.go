package supervise

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrReturned is the failure of a worker that returned nil although it was neither finite nor asked to stop.
	ErrReturned = errors.New("worker returned without being asked to stop")
	// ErrGoexit is the failure of a worker or a boot step that ended its goroutine with runtime.Goexit.
	ErrGoexit = errors.New("called runtime.Goexit")
	// ErrStopped is returned by Start when the supervisor or the worker was stopped, and is the cause of the contexts
	// that a stop ends.
	ErrStopped = errors.New("supervisor stopped")
	// ErrDuplicate is returned by Start when a worker of that name is still in service.
	ErrDuplicate = errors.New("worker name already in use")
	// ErrInvalidSpec is returned by Start for a spec without a name or without a worker.
	ErrInvalidSpec = errors.New("invalid worker spec")
	// ErrNotReady is returned by Start when a worker did not call Ready in time.
	ErrNotReady = errors.New("worker not ready")
	// ErrAbandoned marks a worker or a boot step that ignored its context and was left running.
	ErrAbandoned = errors.New("abandoned while still running")
)

// Permanent marks err as one that another attempt cannot cure: the worker is left down. Permanent(nil) is nil.
func Permanent(err error) error { return classify(permanent, err) }

// Fatal marks err as one that the process cannot live with: the worker is left down and the error is delivered on
// [Supervisor.Fatal]. Fatal(nil) is nil.
func Fatal(err error) error { return classify(fatal, err) }

// IsPermanent reports whether err or an error it wraps was marked by [Permanent].
func IsPermanent(err error) bool { return is(permanent, err) }

// IsFatal reports whether err or an error it wraps was marked by [Fatal].
func IsFatal(err error) bool { return is(fatal, err) }

type class int

const (
	permanent class = iota + 1
	fatal
)

// Is makes a class the target of errors.Is, so that a tree of joined errors is searched whole.
func (c class) Error() string { return [...]string{permanent: "permanent", fatal: "fatal"}[c] }

type classified struct {
	class class
	err   error
}

func (e *classified) Error() string        { return e.err.Error() }
func (e *classified) Unwrap() error        { return e.err }
func (e *classified) Is(target error) bool { return target == error(e.class) }

func classify(c class, err error) error {
	if err == nil {
		return nil
	}
	return &classified{class: c, err: err}
}

func is(c class, err error) bool { return errors.Is(err, c) }

// UnstoppedError names what did not stop within its bounds, in start order. It is still running.
type UnstoppedError struct{ Names []string }

func (e *UnstoppedError) Error() string { return "did not stop: " + strings.Join(e.Names, ", ") }

// Is makes every UnstoppedError an ErrAbandoned.
func (e *UnstoppedError) Is(target error) bool { return target == ErrAbandoned }

// notReady is ErrNotReady with why it is no use to wait longer and what the worker said last, as far as known.
func notReady(how string, causes ...error) error {
	err := fmt.Errorf("%w %s", ErrNotReady, how)
	for _, cause := range causes {
		if cause != nil {
			err = fmt.Errorf("%w: %w", err, cause)
		}
	}
	return err
}
