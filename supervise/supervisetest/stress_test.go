package supervisetest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/esper-lite/weatherlight/supervise"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func waits(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestStressPassesAGoodWorker(t *testing.T) {
	var runs atomic.Int64
	Stress(t, func() supervise.Worker {
		return supervise.WorkerFunc(func(ctx context.Context) error {
			runs.Add(1)
			return waits(ctx)
		})
	})
	if n := runs.Load(); n < goroutines*rounds/2 {
		t.Errorf("Run was called %d times", n)
	}
}

func TestStressFindsABadWorker(t *testing.T) {
	errLate := errors.New("close of closed socket")
	tests := []struct {
		name string
		run  supervise.WorkerFunc
		want string
	}{
		{"error on the way out", func(ctx context.Context) error { <-ctx.Done(); return errLate }, errLate.Error()},
		{"panic on the way out", func(ctx context.Context) error { <-ctx.Done(); panic("nil map") }, "panic: nil map"},
		{"cannot run twice", onlyOnce(), "already run"},
	}
	for _, test := range tests {
		err := stress("worker", test.run)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func onlyOnce() supervise.WorkerFunc {
	var ran atomic.Bool
	return func(ctx context.Context) error {
		if ran.Swap(true) {
			return supervise.Permanent(errors.New("already run"))
		}
		return waits(ctx)
	}
}
