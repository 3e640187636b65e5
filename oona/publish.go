package oona

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// draft is one message that passed admission and is ready for the wire.
type draft struct {
	index              int
	stream             string
	payload, signature string
	source             string    // who raised it, for emergencies
	sealed             time.Time // of an answer: when it was signed
}

// Publish sends messages in one pipeline and returns when Redis has stored
// them, or within DialTimeout. Each message that was not stored has a
// *PublishError in the joined error, wrapping ErrUnavailable, ErrOverloaded,
// ErrRateLimited, ErrTooLarge or ErrNotPublishable; the others are stored. A
// closed client stores none and returns ErrClosed. Messages for the emergency
// stream pass breaker and backpressure.
func (c *Client) Publish(ctx context.Context, msgs ...Message) error {
	if c.conn.Closed() {
		return ErrClosed
	}
	started := time.Now()
	bounded, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	urgent, ordinary, failed := c.admit(bounded, msgs, c.Now())
	failed = append(failed, c.send(bounded, urgent)...)
	failed = append(failed, c.sendGuarded(ctx, bounded, ordinary)...)
	took := time.Since(started)
	c.meters.publishLatency.observe(took)
	c.observePublish(urgent, took)
	c.observePublish(ordinary, took)
	return errors.Join(failed...)
}

// observePublish times drafts, those of one stream in a row at once.
func (c *Client) observePublish(drafts []draft, took time.Duration) {
	for len(drafts) > 0 {
		stream, n := drafts[0].stream, 1
		for n < len(drafts) && drafts[n].stream == stream {
			n++
		}
		c.meters.timings.of(PathPublish, stream).observe(took, n)
		drafts = drafts[n:]
	}
}

// admit turns messages into drafts, or into the reason they may not go.
func (c *Client) admit(ctx context.Context, msgs []Message, now time.Time) (urgent, ordinary []draft, failed []error) {
	candidates := make([]candidate, len(msgs))
	for i, m := range msgs {
		candidates[i] = c.nominate(ctx, i, c.addressed(m))
	}
	c.encodeAll(candidates, now)
	ordinary = make([]draft, 0, len(msgs))
	for _, one := range candidates {
		emergency := one.stream == c.cfg.Streams.Emergency
		switch {
		case one.err != nil:
			c.meters.refused(one.message, one.err, emergency)
			failed = append(failed, &PublishError{Index: one.index, Stream: one.stream, Err: one.err})
		case emergency:
			urgent = append(urgent, one.draft)
		default:
			ordinary = append(ordinary, one.draft)
		}
	}
	return urgent, ordinary, failed
}

// nominate asks whether a message may go now.
func (c *Client) nominate(ctx context.Context, index int, m Message) candidate {
	emergency := m.Stream == c.cfg.Streams.Emergency
	one := candidate{draft: draft{index: index, stream: m.Stream}, message: m}
	if emergency {
		one.source = sourceOf(m)
	}
	one.err = c.allow(ctx, m, emergency)
	return one
}

func (c *Client) allow(ctx context.Context, m Message, emergency bool) error {
	if emergency {
		if _, signal := m.Payload.(*leyline.EmergencySignal); !c.guard.budget.allow(signal) {
			return ErrRateLimited
		}
		return nil
	}
	if !c.load.admit(ctx, m.Stream, m.Priority) {
		return ErrOverloaded
	}
	return nil
}

// sendGuarded sends through the breaker: while it is open, nothing is tried. The
// end of the caller's own context, unlike that of the bounded one, says nothing
// about the bus.
func (c *Client) sendGuarded(caller, bounded context.Context, drafts []draft) []error {
	if len(drafts) == 0 {
		return nil
	}
	var failed []error
	_, err := c.guard.breaker.Execute(func() (struct{}, error) {
		failed = c.send(bounded, drafts)
		if len(failed) > 0 && caller.Err() != nil {
			return struct{}{}, fmt.Errorf("%w: %w", errCaller, failed[0])
		}
		return struct{}{}, errors.Join(failed...)
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		c.meters.breakerRefused.Add(int64(len(drafts)))
		return failAll(drafts, fmt.Errorf("%w: %w", ErrUnavailable, err))
	}
	return failed
}

// errCaller marks a failure that says nothing about the bus: the caller left.
var errCaller = errors.New("caller gave up")

func isCallersOwn(err error) bool { return errors.Is(err, errCaller) }

func failAll(drafts []draft, err error) []error {
	failed := make([]error, len(drafts))
	for i, d := range drafts {
		failed[i] = &PublishError{Index: d.index, Stream: d.stream, Err: err}
	}
	return failed
}

// send writes drafts in one pipeline and returns what failed.
func (c *Client) send(ctx context.Context, drafts []draft) []error {
	if len(drafts) == 0 {
		return nil
	}
	commands := make(rueidis.Commands, len(drafts))
	for i, d := range drafts {
		commands[i] = c.add(d)
	}
	var failed []error
	for i, reply := range c.conn.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			failed = append(failed, &PublishError{Index: drafts[i].index, Stream: drafts[i].stream, Err: err})
		} else if drafts[i].source != "" {
			c.meters.sources.count(&c.meters.emergencyPublished, drafts[i].source, emergencySent)
		}
	}
	c.meters.publishFailed.Add(int64(len(failed)))
	c.meters.published.Add(int64(len(drafts) - len(failed)))
	return failed
}

func (c *Client) add(d draft) rueidis.Completed {
	return c.conn.B().Xadd().Key(d.stream).Maxlen().Almost().Threshold(c.load.boundText).Id("*").
		FieldValue().FieldValue(entry.Payload, d.payload).FieldValue(entry.Signature, d.signature).Build()
}
