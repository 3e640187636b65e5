package weatherlight

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/esper-lite/weatherlight/urza"
)

func TestScrubWaitsForItsTurnAndKeepsToItsInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		passes, ours := 0, false
		broken := error(nil)
		s := &scrubber{
			ours:     func() bool { return ours },
			scrub:    func(context.Context) (urza.Scrubbed, error) { passes++; return urza.Scrubbed{}, broken },
			interval: time.Hour, logger: slog.New(slog.DiscardHandler),
		}
		ended := make(chan error, 1)
		go func() { ended <- s.run(t.Context()) }()
		after := func(pause time.Duration, want int) {
			t.Helper()
			time.Sleep(pause)
			synctest.Wait()
			if passes != want {
				t.Errorf("%d passes, want %d", passes, want)
			}
		}
		after(time.Minute, 0)
		ours = true
		after(scrubTurn, 1)
		after(59*time.Minute, 1)
		after(2*time.Minute, 2)
		broken = errors.New("no catalogue")
		after(time.Hour, 3)
		if err := <-ended; !errors.Is(err, broken) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestScrubEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &scrubber{
			ours: func() bool { return true },
			scrub: func(ctx context.Context) (urza.Scrubbed, error) {
				<-ctx.Done()
				return urza.Scrubbed{}, ctx.Err()
			},
			interval: time.Hour, logger: slog.New(slog.DiscardHandler),
		}
		ended := make(chan error, 1)
		go func() { ended <- s.run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
