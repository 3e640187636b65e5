package oona

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

// encodeShare is how many messages make it worth while to occupy one more
// processor: the bus is waiting for them.
const encodeShare = 32

// outgoing is one message that passed admission and is ready for the wire.
type outgoing struct {
	envelope.Draft
	index  int
	source string // who raised it, for emergencies
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
	c.meters.PublishLatency.Observe(took)
	c.observePublish(urgent, took)
	c.observePublish(ordinary, took)
	return errors.Join(failed...)
}

// observePublish times drafts, those of one stream in a row at once.
func (c *Client) observePublish(drafts []outgoing, took time.Duration) {
	for len(drafts) > 0 {
		stream, n := drafts[0].Stream, 1
		for n < len(drafts) && drafts[n].Stream == stream {
			n++
		}
		c.meters.Timing(stats.PathPublish, stream).Observe(took, n)
		drafts = drafts[n:]
	}
}

// admit turns messages into drafts, or into the reason they may not go.
func (c *Client) admit(ctx context.Context, msgs []Message, now time.Time) (urgent, ordinary []outgoing, failed []error) {
	candidates := make([]candidate, len(msgs))
	for i, m := range msgs {
		candidates[i] = c.nominate(ctx, i, c.addressed(m))
	}
	c.encodeAll(candidates, now)
	ordinary = make([]outgoing, 0, len(msgs))
	for _, one := range candidates {
		emergency := one.Stream == c.cfg.Streams.Emergency
		switch {
		case one.err != nil:
			c.countRefused(one)
			failed = append(failed, &PublishError{Index: one.index, Stream: one.Stream, Err: one.err})
		case emergency:
			urgent = append(urgent, one.outgoing)
		default:
			ordinary = append(ordinary, one.outgoing)
		}
	}
	return urgent, ordinary, failed
}

// countRefused counts a message that may not go for now.
func (c *Client) countRefused(one candidate) {
	switch {
	case errors.Is(one.err, ErrOverloaded):
		c.meters.Overloaded.Add(1)
	case errors.Is(one.err, ErrRateLimited):
		c.meters.Emergencies.Limited.Count(one.source)
	}
}

// candidate is a message on its way out.
type candidate struct {
	outgoing
	message Message
	err     error // why it may not go
}

// encodeAll encodes and signs what may go, on several processors when there is
// much of it. The order stays.
func (c *Client) encodeAll(candidates []candidate, now time.Time) {
	shares := max(1, min(runtime.GOMAXPROCS(0), len(candidates)/encodeShare))
	size := (len(candidates) + shares - 1) / shares
	var others sync.WaitGroup
	for len(candidates) > size {
		share := candidates[:size]
		candidates = candidates[size:]
		others.Go(func() { c.encodeShare(share, now) })
	}
	c.encodeShare(candidates, now)
	others.Wait()
}

func (c *Client) encodeShare(candidates []candidate, now time.Time) {
	room := envelope.Slab{Left: len(candidates)}
	for i := range candidates {
		if one := &candidates[i]; one.err == nil {
			if draft, err := c.sealer.Seal(one.message.content(), now, &room); err != nil {
				one.err = err
			} else {
				one.Draft = draft
			}
		}
	}
}

// nominate asks whether a message may go now.
func (c *Client) nominate(ctx context.Context, index int, m Message) candidate {
	emergency := m.Stream == c.cfg.Streams.Emergency
	one := candidate{outgoing: outgoing{Draft: envelope.Draft{Stream: m.Stream}, index: index}, message: m}
	if emergency {
		one.source = sourceOf(m)
	}
	one.err = c.allow(ctx, m, emergency)
	return one
}

func (c *Client) allow(ctx context.Context, m Message, emergency bool) error {
	if emergency {
		_, signal := m.Payload.(*leyline.EmergencySignal)
		return c.admission.AdmitEmergency(signal)
	}
	return c.admission.Admit(ctx, m.Stream, m.Priority)
}

// sendGuarded sends through the breaker: while it is open, nothing is tried. The
// end of the caller's own context, unlike that of the bounded one, says nothing
// about the bus.
func (c *Client) sendGuarded(caller, bounded context.Context, drafts []outgoing) []error {
	if len(drafts) == 0 {
		return nil
	}
	var failed []error
	err := c.admission.Guard(caller, func() []error {
		failed = c.send(bounded, drafts)
		return failed
	})
	if err != nil {
		c.meters.BreakerRefused.Add(int64(len(drafts)))
		return failAll(drafts, err)
	}
	return failed
}

func failAll(drafts []outgoing, err error) []error {
	failed := make([]error, len(drafts))
	for i, d := range drafts {
		failed[i] = &PublishError{Index: d.index, Stream: d.Stream, Err: err}
	}
	return failed
}

// send writes drafts in one pipeline and returns what failed.
func (c *Client) send(ctx context.Context, drafts []outgoing) []error {
	if len(drafts) == 0 {
		return nil
	}
	commands := make(rueidis.Commands, len(drafts))
	for i, d := range drafts {
		commands[i] = c.add(d.Draft)
	}
	var failed []error
	for i, reply := range c.conn.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			failed = append(failed, &PublishError{Index: drafts[i].index, Stream: drafts[i].Stream, Err: err})
		} else if drafts[i].source != "" {
			c.meters.Emergencies.Sent.Count(drafts[i].source)
		}
	}
	c.meters.PublishFailed.Add(int64(len(failed)))
	c.meters.Published.Add(int64(len(drafts) - len(failed)))
	return failed
}

func (c *Client) add(d envelope.Draft) rueidis.Completed {
	return c.conn.Add(d.Stream, c.bound, d.Payload, d.Signature)
}

// sourceOf names who raised an emergency, in the characters a metric name may
// hold.
func sourceOf(m Message) string {
	var source string
	switch payload := m.Payload.(type) {
	case *leyline.EmergencySignal:
		source = payload.GetOrigin()
	case *leyline.TelemetryPacket:
		source = payload.GetSourceSubsystem()
	}
	if source == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, source)
}
