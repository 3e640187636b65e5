package process

import (
	"context"
	"errors"
	"testing"
)

func TestWhatStoppedACommandIsTold(t *testing.T) {
	t.Parallel()
	broken, failed := errors.New("broken pipe"), errors.New("training failed")
	for name, test := range map[string]struct {
		cause, want error
		exit        int
	}{
		"nothing did":   {nil, failed, 1},
		"a signal":      {ErrSignal, ErrSignal, 130},
		"a closed pipe": {broken, broken, 1},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		if test.cause != nil {
			cancel(test.cause)
		}
		err := Stopped(ctx, failed)
		if !errors.Is(err, test.want) || ExitCode(err) != test.exit {
			t.Errorf("%s: %v, exit code %d", name, err, ExitCode(err))
		}
		cancel(nil)
	}
}
