package supervisetest

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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

// lasting is a worker that takes so long to return when it is told to.
func lasting(d time.Duration) supervise.Spec {
	return supervise.Spec{Name: "worker", Worker: supervise.WorkerFunc(func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(d) // the bubble's clock
		return ctx.Err()
	})}
}

func TestInterruptedWorkerMayBeLateButMustComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := hurried(lasting(lateness / 2)); err != nil {
			t.Errorf("a late one: %v", err)
		}
		if err := hurried(lasting(2 * lateness)); !errors.Is(err, supervise.ErrAbandoned) {
			t.Errorf("one that stays away: %v", err)
		}
		time.Sleep(2 * lateness) // until it has ended
	})
}
