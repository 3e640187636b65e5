package supervise_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/supervise/supervisetest"
)

func TestWatchdogIsFedOnlyWhileTheSupervisorLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		var fed atomic.Int64
		dog := &supervise.Watchdog{
			Interval: 10 * time.Second,
			Alive:    func(context.Context) bool { return !dead.Load() },
			Feed:     func() error { fed.Add(1); return nil },
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- dog.Run(ctx) }()
		time.Sleep(65 * time.Second)
		if got := fed.Load(); got != 7 {
			t.Errorf("fed %d times in 65 s", got)
		}
		dead.Store(true)
		time.Sleep(time.Minute)
		if got := fed.Load(); got != 7 {
			t.Errorf("fed %d times by a dead supervisor", got-7)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestWatchdogDoesNotWaitForeverForADeadSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		dog := &supervise.Watchdog{
			Interval: 10 * time.Second,
			Alive:    func(ctx context.Context) bool { asked++; <-ctx.Done(); return false },
			Feed:     func() error { t.Error("fed"); return nil },
		}
		ctx, cancel := context.WithTimeout(t.Context(), 35*time.Second)
		defer cancel()
		if err := dog.Run(ctx); err != nil || asked != 4 {
			t.Errorf("asked %d times in 35 s, %v; want 4", asked, err)
		}
	})
}

func TestListenerThatCannotBeToldIsAFailure(t *testing.T) {
	gone := errors.New("nobody listens")
	dog := &supervise.Watchdog{
		Interval: time.Hour,
		Alive:    func(context.Context) bool { return true },
		Feed:     func() error { return gone },
	}
	if err := dog.Run(t.Context()); !errors.Is(err, gone) {
		t.Errorf("Run = %v", err)
	}
}

func TestWatchdogCanBeStoppedAtAnyMoment(t *testing.T) {
	supervisetest.Stress(t, func() supervise.Worker {
		return &supervise.Watchdog{
			Interval: time.Millisecond,
			Alive:    func(context.Context) bool { return true },
			Feed:     func() error { return nil },
		}
	})
}
