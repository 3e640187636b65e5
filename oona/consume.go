package oona

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

// Consume reads a stream for a group until fetch is done, finishes what it has
// read, and returns nil. work is the context of the handlers: when it is done
// too, the rest stays pending and is taken up again by the next Consume of the
// same consumer. Outages and lost groups heal inside; the only errors are those
// of a subscription that could never work.
func (c *Client) Consume(fetch, work context.Context, sub Subscription) error {
	sub = sub.withDefaults(c.cfg)
	if err := c.checkSubscription(sub); err != nil {
		return err
	}
	s := newConsumer(c, sub)
	s.run(fetch, work)
	return nil
}

func (c *Client) checkSubscription(sub Subscription) error {
	var faults []error
	if sub.Stream == "" || sub.Group == "" {
		faults = append(faults, errors.New("stream and group must be named"))
	}
	if sub.Batch < 1 || sub.Concurrency < 1 || sub.Block < 0 {
		faults = append(faults, errors.New("batch, concurrency and block must be positive"))
	}
	for kind := range sub.Handlers {
		if !c.cfg.Streams.carries(sub.Stream, kind) {
			faults = append(faults, fmt.Errorf("%s never travels on %s", kind, sub.Stream))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("subscription: %w", err)
	}
	if c.conn.Closed() {
		return ErrClosed
	}
	return nil
}

// consumer is one running subscription: a reader and a minder take entries in,
// workers run the handlers, a committer reports to Redis what came of them.
type consumer struct {
	c       *Client
	sub     Subscription
	log     *slog.Logger
	valid   map[leyline.BusMessageType]bool // what the stream may carry
	batches chan []entry.Entry
	jobs    chan *workload
	flights *flights
	outbox  *outbox
	line    *redis.Line
	// Latencies of this stream.
	consumed, delivered *stats.Recorder
	lanes               *lanes // nil when the subscription has no key
	// unskippable: the bus cannot move the group; the reader's own.
	unskippable bool
	// commits paces the attempts of the committer; its own.
	commits *redis.Backoff
	// unstored is when an answer could last not be stored; the committer's own.
	unstored time.Time
}

func newConsumer(c *Client, sub Subscription) *consumer {
	s := &consumer{
		c:       c,
		sub:     sub,
		log:     c.log.With("stream", sub.Stream, "group", sub.Group),
		valid:   c.cfg.Streams.validOn(sub.Stream),
		batches: make(chan []entry.Entry, 1),
		jobs:    make(chan *workload, sub.Concurrency),
		flights: newFlights(),
		outbox:  newOutbox(),
		line:    c.conn.NewLine(sub.Stream),

		consumed:  c.meters.Timing(stats.PathConsume, sub.Stream),
		delivered: c.meters.Timing(stats.PathDelivery, sub.Stream),
	}
	s.commits = c.conn.NewBackoff(s.log.With("step", "commit"), new(atomic.Int64))
	if sub.Key != nil {
		s.lanes = newLanes()
		s.flights.lanes = s.lanes
	}
	return s
}

func (s *consumer) run(fetch, work context.Context) {
	var intake, usher, workers, committer sync.WaitGroup
	if s.lanes != nil {
		usher.Go(func() { s.usher(work) })
	}
	intake.Go(func() { s.takeAll(work) })
	intake.Go(func() {
		defer close(s.batches)
		s.read(fetch, work)
	})
	intake.Go(func() { s.mind(fetch, work) })
	for range s.sub.Concurrency {
		workers.Go(func() { s.handleAll(work) })
	}
	committer.Go(func() { s.commitAll(fetch, work) })

	intake.Wait()
	if s.lanes != nil {
		s.lanes.close()
		usher.Wait()
	}
	close(s.jobs)
	workers.Wait()
	s.outbox.close()
	committer.Wait()
}
