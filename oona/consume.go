package oona

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/delivery"
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
	s := &subscriber{c: c, sub: sub, valid: c.cfg.Streams.validOn(sub.Stream)}
	c.deliverer.Run(fetch, work, delivery.Subscription{
		Stream: sub.Stream, Group: sub.Group, Judge: s.judge, Ordered: sub.Key != nil, AnswersOnly: sub.AnswersOnly,
		Demand: sub.Demand.values(), Needs: sub.Needs, Batch: sub.Batch, Concurrency: sub.Concurrency, Block: sub.Block,
		OnReady: sub.OnReady, Fence: sub.Fence, Exclusive: sub.Exclusive,
	})
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

// Ways in which the messages of a subscription are not finished: see Stall.
const (
	StallNeeds   = delivery.StallNeeds   // what its handlers need is away
	StallAnswers = delivery.StallAnswers // what came of them cannot be committed
	StallReading = delivery.StallReading // its stream cannot be read
)

// Stall says that nothing of a subscription is finished now, of which kind that is,
// since when, and why.
type Stall = delivery.Stall

// Stalls are those of the subscriptions that are consumed now, sorted by stream.
func (c *Client) Stalls() []Stall { return c.deliverer.Stalls() }

// Hand is a message that is being handled, and since when.
type Hand = delivery.Hand

// TakeOver lets every subscription of this client, also one that begins a little
// later, take over at once what a consumer has in hand that is known to be dead,
// instead of after ClaimIdle. Only what nobody has touched for at least idle is
// taken: so a consumer that was thought dead too early keeps what it just read.
func (c *Client) TakeOver(consumer string, idle time.Duration) { c.deliverer.TakeOver(consumer, idle) }

// Demand says whether anybody waits for what a subscription brings. While
// nobody does, the subscription skips what is published instead of reading it:
// of the answers on a shared stream, most are to somebody else's requests. It is
// safe for concurrent use.
type Demand struct {
	exists    func() bool
	elsewhere func(context.Context) (bool, error)
	raised    chan struct{}
}

// NewDemand asks exists, which must answer at once, before each read. When
// several consumers share the group, elsewhere says whether any of them waits;
// it is asked before anything is skipped, and whoever waits must have said so
// before it asks for what it waits for. Nil: the group is this consumer's alone.
func NewDemand(exists func() bool, elsewhere func(context.Context) (bool, error)) *Demand {
	return &Demand{exists: exists, elsewhere: elsewhere, raised: make(chan struct{}, 1)}
}

// Raise makes the subscription look again at once. Whoever asks for something
// calls it when exists already says so and the request is not published yet:
// then no answer is skipped, and none waits for the next look.
func (d *Demand) Raise() {
	select {
	case d.raised <- struct{}{}:
	default:
	}
}

func (d *Demand) values() *delivery.Demand {
	if d == nil {
		return nil
	}
	return &delivery.Demand{Exists: d.exists, Elsewhere: d.elsewhere, Raised: d.raised}
}
