package supervise

import (
	"fmt"
	"runtime/debug"
)

// PanicError is the failure of a worker or a boot step that panicked. It does not unwrap to the panic's value: an
// error that was thrown is not one that was returned, so it is never taken for Permanent or Fatal.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // of the goroutine that panicked
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// guard calls f and delivers how it ended, whichever way it ended. Goexit runs nothing but deferred calls, so the
// delivery is one.
func guard(f func() error, deliver func(error)) {
	err := ErrGoexit
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
		deliver(err)
	}()
	err = f()
}
