package oona

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// outage tells one episode of failures in two lines, however long it lasts, and
// paces the attempts to end it.
type outage struct {
	log      *slog.Logger
	failures *atomic.Int64
	since    time.Time
	begun    time.Time // when the attempt began that failed last
	wait     time.Duration
}

// pause waits before the next attempt, or until ctx is done. It goes by when the
// failed attempt began: one that took as long as the pause is followed at once,
// so that a bus that is back is never waited for twice.
func (o *outage) pause(ctx context.Context, err error) {
	o.failures.Add(1)
	if o.since.IsZero() {
		o.since, o.wait = time.Now(), healPauseFirst
		o.begun = o.since
		o.log.Warn("reading is interrupted", "error", err)
	}
	timer := time.NewTimer(max(o.wait-time.Since(o.begun), healPauseFirst))
	defer timer.Stop()
	o.wait = min(o.wait*2, healPauseMax)
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	o.begun = time.Now()
}

// over notes a success.
func (o *outage) over() {
	if o.since.IsZero() {
		return
	}
	o.failures.Store(0)
	o.log.Info("reading goes on", "after", time.Since(o.since).Round(time.Millisecond))
	o.since = time.Time{}
}
