package simtest

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// session is what a process holds of the bus. When the process dies, nothing that it still does has any effect.
type session struct {
	once sync.Once
	dead chan struct{}
}

func newSession() *session { return &session{dead: make(chan struct{})} }

func (s *session) end() { s.once.Do(func() { close(s.dead) }) }

func (s *session) ended() bool {
	select {
	case <-s.dead:
		return true
	default:
		return false
	}
}

// conn is one connection to the bus. It belongs to one goroutine.
type conn struct {
	bus     *Bus
	session *session
	rng     *rand.Rand
	risk    float64 // that a call is refused, and as much again that its reply is lost
}

// do makes one atomic call. After errUnavailable nobody knows whether it took effect.
func (c *conn) do(call func(*Bus) error) error {
	if c.session.ended() {
		return errClosed
	}
	refused, lost := c.rng.Float64() < c.risk, c.rng.Float64() < c.risk
	c.bus.mu.Lock()
	defer c.bus.mu.Unlock()
	if c.bus.down || refused {
		return errUnavailable
	}
	err := call(c.bus)
	if lost {
		return errUnavailable
	}
	return err
}

func (c *conn) publish(m Message) error {
	return c.do(func(b *Bus) error {
		if b.defects.Forgetful && c.rng.IntN(50) == 0 {
			return nil
		}
		_, err := b.add(m)
		return err
	})
}

func (c *conn) createGroup(stream, group string) error {
	return c.do(func(b *Bus) error { return b.createGroup(stream, group) })
}

// ask is do for a call that delivers entries.
func (c *conn) ask(call func(*Bus) ([]Entry, error)) (entries []Entry, err error) {
	err = c.do(func(b *Bus) (err error) {
		entries, err = call(b)
		return err
	})
	return entries, err
}

func (c *conn) commit(stream, group, consumer string, outcomes []Outcome) error {
	return c.do(func(b *Bus) error {
		_, err := b.commit(stream, group, consumer, outcomes)
		return err
	})
}

// wayOfNews is how long it takes at most until a reader that waits has heard of an entry.
const wayOfNews = time.Millisecond

// read delivers new entries. It waits for one until a time, or until ctx is done.
func (c *conn) read(ctx context.Context, stream, group, consumer string, n int, until time.Time) ([]Entry, error) {
	for {
		arrived := make(chan struct{})
		entries, err := c.ask(func(b *Bus) ([]Entry, error) {
			entries, err := b.fetch(stream, group, consumer, n)
			if err == nil && len(entries) == 0 {
				b.waiting[stream] = append(b.waiting[stream], arrived)
			}
			return entries, err
		})
		if err != nil || len(entries) > 0 {
			return entries, err
		}
		if !waitUntil(until, ctx.Done(), c.session.dead, arrived) {
			return nil, nil
		}
		select {
		case <-arrived:
		default:
			return nil, nil
		}
		// The way of the news. It keeps readers from running beside the writer, in whatever order.
		waitUntil(time.Now().Add(between(c.rng, 1, wayOfNews)), ctx.Done(), c.session.dead, nil)
	}
}

// waitUntil waits for a time, or less when one of the channels is closed: then it returns true. Channels may be nil.
func waitUntil(at time.Time, a, b, c <-chan struct{}) bool {
	d := time.Until(at)
	if d <= 0 {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-a:
	case <-b:
	case <-c:
	}
	return true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// draw draws a waiting time from an exponential distribution, in nanoseconds and at most ten means.
func draw(rng *rand.Rand, mean time.Duration) time.Duration {
	return min(time.Duration(rng.ExpFloat64()*float64(mean)), 10*mean) + 1
}

// between draws a waiting time from a range.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}
