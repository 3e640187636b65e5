package delivery

import (
	"context"
	"sync"
	"time"
)

// TakeOver lets every subscription, also one that begins a little later, claim at
// once what a dead consumer has in hand that nobody has touched for idle.
func (d *Deliverer) TakeOver(consumer string, idle time.Duration) {
	d.takeovers.add(departure{consumer, idle, time.Now()}, d.ClaimIdle)
}

// departure is a consumer that is known to be dead.
type departure struct {
	consumer string
	idle     time.Duration
	at       time.Time
}

// takeovers are the departures of the last while. The zero value is usable.
type takeovers struct {
	mu     sync.Mutex
	list   []departure
	number int           // of departures ever
	more   chan struct{} // closed with the next one
}

// add notes a departure and forgets those that are older than life: by then the
// ordinary look has found what they left.
func (d *takeovers) add(latest departure, life time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.list) > 0 && latest.at.Sub(d.list[0].at) > life {
		d.list = d.list[1:]
	}
	d.list = append(d.list, latest)
	d.number++
	if d.more != nil {
		close(d.more)
		d.more = nil
	}
}

// since are the departures after the first seen ones, how many there were ever,
// and the end of that state.
func (d *takeovers) since(seen int) (fresh []departure, number int, more <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.more == nil {
		d.more = make(chan struct{})
	}
	fresh = d.list[len(d.list)-min(d.number-seen, len(d.list)):]
	return append([]departure(nil), fresh...), d.number, d.more
}

// takeOver takes over what the departed had in hand on this stream, and reports whether
// it has looked at all of it.
func (s *consumer) takeOver(fetch, work context.Context, departed []departure) bool {
	for _, d := range departed {
		if d.consumer == s.c.Consumer || s.sub.Exclusive {
			continue
		}
		complete, err := s.eachPending(fetch, work, d.consumer, d.idle)
		if err != nil && fetch.Err() == nil {
			s.log.Debug("entries of a dead consumer are left to the next look", "consumer", d.consumer, "error", err)
		}
		if !complete {
			return false
		}
	}
	return true
}
