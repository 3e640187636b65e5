package oona

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// clockEvery is how old a look at the clock of the bus may be before it is taken
// again. Clocks drift by less than a millisecond in that time.
const clockEvery = 10 * time.Second

// busClock tells the time of the bus from looks at it, and from the time that has
// passed here since: however the clock of this machine is set.
type busClock struct {
	begun  time.Time
	latest atomic.Pointer[clockLook]
	next   atomic.Int64 // when to look again, in nanoseconds since begun
}

// clockLook is the clock of the bus as it was at a moment of ours.
type clockLook struct {
	bus, local  time.Time
	uncertainty time.Duration // either way
}

func newBusClock() *busClock { return &busClock{begun: time.Now()} }

// at is the time of the bus at a moment of ours; our own before the first look.
func (b *busClock) at(local time.Time) time.Time {
	look := b.latest.Load()
	if look == nil {
		return local
	}
	return look.bus.Add(local.Sub(look.local))
}

// due reports, to one caller, that it is time to look again.
func (b *busClock) due(local time.Time) bool {
	now, next := int64(local.Sub(b.begun)), b.next.Load()
	return now >= next && b.next.CompareAndSwap(next, now+int64(clockEvery))
}

// learn takes a look in, unless it is a coarse one that only confirms a finer.
func (b *busClock) learn(look clockLook) {
	known := b.latest.Load()
	if known != nil && known.uncertainty < look.uncertainty {
		gap := b.at(look.local).Sub(look.bus)
		if gap.Abs() <= look.uncertainty {
			return
		}
	}
	b.latest.Store(&look)
}

// read takes in the answer to TIME, if it is one.
func (b *busClock) read(reply rueidis.RedisResult, asked time.Time) {
	took := time.Since(asked)
	words, err := reply.AsStrSlice()
	if err != nil {
		return
	}
	if at, err := serverTime(words); err == nil {
		b.learn(clockLook{bus: at, local: asked.Add(took / 2), uncertainty: took / 2})
	}
}

// Now is the time by the clock of the bus, as far as it is known: within half a
// round trip. It never waits: every ten seconds a call sends for the bus's time,
// which the next ones go by, and while the bus does not tell it, the last one
// stands. Connect asks first; a bus that never told has the time of this machine.
// It follows the bus's clock when that is set, also backwards.
func (c *Client) Now() time.Time {
	local := time.Now()
	if c.clock.due(local) && c.asking.begin() {
		go func() {
			defer c.asking.running.Done()
			// Whoever asked for the time has it already, and Close waits for this.
			c.lookAtClock(context.Background())
		}()
	}
	return c.clock.at(local)
}

// lookAtClock asks the bus for its time, within DialTimeout.
func (c *Client) lookAtClock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	begun := time.Now()
	c.clock.read(c.rdb.Do(ctx, c.rdb.B().Time().Build()), begun)
}
