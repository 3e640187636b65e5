package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/urza"
)

func TestScrubWaitsForItsTurnAndKeepsToItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passes atomic.Int64
		var ours, broken atomic.Bool
		s := Scrubber{
			Ours: ours.Load,
			Scrub: func(context.Context) (urza.Scrubbed, error) {
				passes.Add(1)
				if broken.Load() {
					return urza.Scrubbed{}, errBroken
				}
				return urza.Scrubbed{}, nil
			},
			Interval: time.Hour, Logger: slog.New(slog.DiscardHandler),
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context()) }()
		after := func(pause time.Duration, want int64) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if got := passes.Load(); got != want {
				t.Errorf("%d passes, want %d", got, want)
			}
		}
		after(time.Minute, 0)
		ours.Store(true)
		after(scrubTurn, 1)
		after(59*time.Minute, 1)
		after(2*time.Minute, 2)
		broken.Store(true)
		after(time.Hour, 3)
		if err := <-ended; !errors.Is(err, errBroken) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestScrubEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := Scrubber{
			Ours: func() bool { return true },
			Scrub: func(ctx context.Context) (urza.Scrubbed, error) {
				<-ctx.Done()
				return urza.Scrubbed{}, ctx.Err()
			},
			Interval: time.Hour, Logger: slog.New(slog.DiscardHandler),
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
