package redis

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// clockEvery is how old a sample of the server's clock may be before the next is
// taken. Clocks drift by less than a millisecond in that time.
const clockEvery = 10 * time.Second

const (
	// clockStep is by how much the server's clock must have moved against ours
	// between two samples to have been set: far more than either drifts.
	clockStep = time.Second
	// clockMemory is how long it is known that the clock was set: what was dated
	// and stored before that may still wait to be read.
	clockMemory = 10 * time.Minute
)

// clock tells the time of the server from samples of it, and from the time that has
// passed here since: however the clock of this machine is set.
type clock struct {
	begun  time.Time
	latest atomic.Pointer[sample]
	next   atomic.Int64 // when to sample again, in nanoseconds since begun
}

// sample is the clock of the server as it was at a moment of ours.
type sample struct {
	bus, local  time.Time
	uncertainty time.Duration // either way

	step    time.Duration // by which the clock was last set, as far as we saw
	stepped time.Time     // when we saw that; zero: never
}

func newClock() *clock { return &clock{begun: time.Now()} }

// at is the time of the server at a moment of ours; our own before the first sample.
func (b *clock) at(local time.Time) time.Time {
	known := b.latest.Load()
	if known == nil {
		return local
	}
	return known.bus.Add(local.Sub(known.local))
}

// due reports, to one caller, that it is time to sample again.
func (b *clock) due(local time.Time) bool {
	now, next := int64(local.Sub(b.begun)), b.next.Load()
	return now >= next && b.next.CompareAndSwap(next, now+int64(clockEvery))
}

// learn takes a sample in, unless it is a coarse one that only confirms a finer.
func (b *clock) learn(taken sample) {
	known := b.latest.Load()
	if known == nil {
		b.latest.Store(&taken)
		return
	}
	gap := taken.bus.Sub(b.at(taken.local))
	if known.uncertainty < taken.uncertainty && gap.Abs() <= taken.uncertainty {
		return
	}
	taken.step, taken.stepped = known.step, known.stepped
	if gap.Abs() > clockStep+known.uncertainty+taken.uncertainty {
		taken.step, taken.stepped = gap, taken.local
	}
	b.latest.Store(&taken)
}

// set is by how much the clock was set lately, 0 when it was not.
func (b *clock) set(local time.Time) time.Duration {
	known := b.latest.Load()
	if known == nil || known.stepped.IsZero() || local.Sub(known.stepped) > clockMemory {
		return 0
	}
	return known.step
}

// offset is how far the clock is ahead of ours as that is set now, which a sample
// that was taken before does not know.
func (b *clock) offset(local time.Time) (ahead, uncertainty time.Duration, known bool) {
	latest := b.latest.Load()
	if latest == nil {
		return 0, 0, false
	}
	return b.at(local).Sub(local), latest.uncertainty, true
}

// read takes in the answer to TIME, if it is one.
func (b *clock) read(reply rueidis.RedisResult, asked time.Time) {
	if taken, err := readSample(reply, asked); err == nil {
		b.learn(taken)
	}
}

// readSample makes a sample of the answer to TIME.
func readSample(reply rueidis.RedisResult, asked time.Time) (sample, error) {
	took := time.Since(asked)
	words, err := reply.AsStrSlice()
	if err != nil {
		return sample{}, err
	}
	at, err := serverTime(words)
	return sample{bus: at, local: asked.Add(took / 2), uncertainty: took / 2}, err
}

// serverTime reads the answer to TIME: seconds and microseconds.
func serverTime(reply []string) (time.Time, error) {
	if len(reply) != 2 {
		return time.Time{}, fmt.Errorf("%d words, want 2", len(reply))
	}
	seconds, err := strconv.ParseInt(reply[0], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("seconds: %w", err)
	}
	micros, err := strconv.ParseInt(reply[1], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("microseconds: %w", err)
	}
	return time.Unix(seconds, micros*int64(time.Microsecond)), nil
}

// Now is the time by the server's clock, within half a round trip, as far as it is
// known. It never waits: now and then a call sends for it, for the calls after it.
func (c *Conn) Now() time.Time {
	local := time.Now()
	if c.clock.due(local) && c.calls.begin() {
		go func() {
			defer c.calls.running.Done()
			c.AskTime()
		}()
	}
	return c.clock.at(local)
}

// AskTime asks for the server's time and waits for it, within the timeout.
func (c *Conn) AskTime() {
	// Whoever asks goes by what is known when there is no answer.
	ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
	defer cancel()
	begun := time.Now()
	c.clock.read(c.Do(ctx, c.B().Time().Build()), begun)
}

// Offset is how far the server's clock is ahead of ours, which is known to
// uncertainty either way; false before it was ever told. It never waits.
func (c *Conn) Offset() (ahead, uncertainty time.Duration, known bool) {
	return c.clock.offset(time.Now())
}

// Set is by how much the server's clock was set lately, 0 when it was not.
func (c *Conn) Set() time.Duration { return c.clock.set(time.Now()) }

// Skew asks how far the server's clock is ahead of ours, which is known to
// uncertainty either way.
func (c *Conn) Skew(ctx context.Context) (ahead, uncertainty time.Duration, err error) {
	begun := time.Now()
	taken, err := readSample(c.Do(ctx, c.B().Time().Build()), begun)
	if err != nil {
		return 0, 0, fmt.Errorf("ask the bus for its time: %w", err)
	}
	return taken.bus.Sub(taken.local), taken.uncertainty, nil
}
