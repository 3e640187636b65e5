package oona

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

// episode is an outage of the bus as the whole client meets it: told in two lines,
// however long it lasts and however many loops it stops.
type episode struct {
	log *slog.Logger

	mu      sync.Mutex
	stopped int // loops that cannot go on
	since   time.Time
}

func (e *episode) enter(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped++; e.stopped == 1 {
		e.since = time.Now()
		e.log.Warn("the bus is interrupted", "error", err)
	}
}

// leave tells the end of the episode, unless the last loop only gave up.
func (e *episode) leave(healed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped--; e.stopped == 0 && healed {
		e.log.Info("the bus goes on", "after", time.Since(e.since).Round(time.Millisecond))
	}
}

// outage is one episode of failures of one loop: it paces the attempts to end it.
type outage struct {
	log      *slog.Logger // of the loop, for what is wrong with its stream alone
	shared   *episode
	failures *atomic.Int64
	since    time.Time
	begun    time.Time // when the attempt began that failed last
	wait     time.Duration
	entered  bool // counted in the episode of the client
	told     bool // as a fault of the stream
}

// pause waits before the next attempt, or until ctx is done. It goes by when the
// failed attempt began: one that took as long as the pause is followed at once,
// so that a bus that is back is never waited for twice.
func (o *outage) pause(ctx context.Context, err error) {
	o.failures.Add(1)
	if o.since.IsZero() {
		o.since, o.wait = time.Now(), healPauseFirst
		o.begun = o.since
	}
	o.tell(err)
	pause := max(o.wait-time.Since(o.begun), healPauseFirst)
	o.wait = min(o.wait*2, healPauseMax)
	cadence.Sleep(ctx, pause)
	o.begun = time.Now()
}

// tell says once that the bus fails, or that this one stream does: the latter
// must neither begin nor prolong an episode of the whole bus.
func (o *outage) tell(err error) {
	if isStreamFault(err) {
		o.leave(true) // the server has answered
		if !o.told {
			o.told = true
			o.log.Warn("the stream cannot be used", "error", err)
		}
		return
	}
	if !o.entered {
		o.entered = true
		o.shared.enter(err)
	}
}

// quit takes a loop out of the episode that ends before the bus is back.
func (o *outage) quit() { o.leave(false) }

func (o *outage) leave(healed bool) {
	if o.entered {
		o.entered = false
		o.shared.leave(healed)
	}
}

// over notes a success.
func (o *outage) over() {
	if o.since.IsZero() {
		return
	}
	o.failures.Store(0)
	o.leave(true)
	if o.told {
		o.told = false
		o.log.Info("the stream can be used again", "after", time.Since(o.since).Round(time.Millisecond))
	}
	o.since = time.Time{}
}
