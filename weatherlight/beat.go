package weatherlight

import (
	"context"
	"time"
)

// every does something at the multiples of a period on the clock, until ctx is
// done. The loops of a process so fall together, with the bus's own: an idle
// service wakes up once for all of them, which is most of what idling costs.
func every(ctx context.Context, period time.Duration, do func(context.Context)) {
	for sleep(ctx, untilBeat(period)) {
		do(ctx)
	}
}

// untilBeat is the time until the next multiple of a period, or the one after it
// when that is so near that this may be its own beat, a little early.
func untilBeat(period time.Duration) time.Duration {
	wait := time.Until(time.Now().Truncate(period).Add(period))
	if wait < period/8 {
		wait += period
	}
	return wait
}

// sleep waits for d, or until ctx is done: then it returns false.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
