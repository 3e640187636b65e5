package redis

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

// PauseMax is the longest pause of a Backoff: a bus that is back is noticed within
// this.
const (
	pauseFirst = 50 * time.Millisecond
	PauseMax   = time.Second
)

// busOutage is an outage as all readers of a Conn meet it: told in two lines,
// however long it lasts and however many loops it stops.
type busOutage struct {
	log *slog.Logger

	mu      sync.Mutex
	stopped int // loops that cannot go on
	since   time.Time
}

func (e *busOutage) enter(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped++; e.stopped == 1 {
		e.since = time.Now()
		e.log.Warn("the bus is interrupted", "error", err)
	}
}

// leave tells the end of the outage, unless the last loop only gave up.
func (e *busOutage) leave(healed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped--; e.stopped == 0 && healed {
		e.log.Info("the bus goes on", "after", time.Since(e.since).Round(time.Millisecond))
	}
}

// Backoff is the failures of one loop in a row: it paces the attempts to end them.
type Backoff struct {
	log      *slog.Logger // of the loop, for what is wrong with its stream alone
	shared   *busOutage
	failures *atomic.Int64
	since    time.Time
	begun    time.Time // when the attempt began that failed last
	wait     time.Duration
	entered  bool // counted in the outage of the bus
	told     bool // as a fault of the stream
}

// NewBackoff is for one loop, which ends it with Quit. It counts the failures in a
// row in failures.
func (c *Conn) NewBackoff(log *slog.Logger, failures *atomic.Int64) *Backoff {
	return &Backoff{log: log, shared: &c.outage, failures: failures}
}

// Pause waits before the next attempt, or until ctx is done. It goes by when the
// failed attempt began: one that took as long as the pause is followed at once,
// so that a bus that is back is never waited for twice.
func (b *Backoff) Pause(ctx context.Context, err error) {
	b.failures.Add(1)
	if b.since.IsZero() {
		b.since, b.wait = time.Now(), pauseFirst
		b.begun = b.since
	}
	b.tell(err)
	pause := max(b.wait-time.Since(b.begun), pauseFirst)
	b.wait = min(b.wait*2, PauseMax)
	cadence.Sleep(ctx, pause)
	b.begun = time.Now()
}

// tell says once that the bus fails, or that this one stream does: the latter
// must neither begin nor prolong an outage of the whole bus.
func (b *Backoff) tell(err error) {
	if IsStreamFault(err) {
		b.leave(true) // the server has answered
		if !b.told {
			b.told = true
			b.log.Warn("the stream cannot be used", "error", err)
		}
		return
	}
	if !b.entered {
		b.entered = true
		b.shared.enter(err)
	}
}

// Quit takes a loop that ends before the bus is back out of the outage. Whatever comes
// next begins anew.
func (b *Backoff) Quit() {
	b.leave(false)
	b.since, b.told = time.Time{}, false
}

func (b *Backoff) leave(healed bool) {
	if b.entered {
		b.entered = false
		b.shared.leave(healed)
	}
}

// Over notes a success.
func (b *Backoff) Over() {
	if b.since.IsZero() {
		return
	}
	b.failures.Store(0)
	b.leave(true)
	if b.told {
		b.told = false
		b.log.Info("the stream can be used again", "after", time.Since(b.since).Round(time.Millisecond))
	}
	b.since = time.Time{}
}
