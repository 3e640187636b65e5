// Package cadence paces loops: it waits, and does something again and again, until a context
// ends.
package cadence

import (
	"context"
	"time"
)

// Clock says when the next beat of a period is.
type Clock interface {
	// Until is how long to wait for the next beat; more than 0.
	Until(period time.Duration) time.Duration
}

// Every does something at the beats of a period until ctx is done.
func Every(ctx context.Context, clock Clock, period time.Duration, do func(context.Context)) {
	for Sleep(ctx, clock.Until(period)) {
		do(ctx)
	}
}

// Sleep waits for d, or until ctx is done: then it returns false.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
