package oona

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/rueidis"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/verify"
)

const (
	orderWait = 5 * time.Second  // longest wait of one read
	orderScan = 10 * time.Second // between two scans of the whole stream
	firstID   = "0-0"
)

// PublishReport publishes a trainer's report: a training state with attributes,
// which its envelope signs.
func (c *Client) PublishReport(ctx context.Context, packet *leyline.SystemStatePacket, attributes map[string]string) error {
	return c.Publish(ctx, Message{Stream: c.cfg.Streams.Normal, Payload: packet, Attributes: attributes})
}

// FollowOrders reads the stream of a run until ctx is done, and returns nil, or
// ErrClosed when the client is closed before. It takes what the stream holds and
// what comes, in order, one call of take at a time; the next order waits for it.
// Orders that are lost with their stream, and a stream that begins anew, leave
// nothing to do: the whole of the stream is looked at again every ten seconds, and
// take may see an order more than once, which its number tells.
//
// An order is an ADAPTATION_COMMAND in a signed envelope that was made for this
// stream and stored within the control window of its signing, by the clock of the
// bus. The signature of the command itself is the caller's to verify. Whatever
// else lies on the stream is dropped and counted: see Drops. Outages heal inside.
//
// It needs XREAD on the stream and nothing else, and a connection of its own: one
// client has 64 for this and its subscriptions.
func (c *Client) FollowOrders(ctx context.Context, stream string, take func(*leyline.AdaptationCommand)) error {
	f := c.follow(stream, func(_ string, order *leyline.AdaptationCommand) { take(order) })
	f.line = c.conn.NewLine(stream)
	defer f.line.Close()
	backoff := c.conn.NewBackoff(f.log, &c.meters.ReadFailures)
	defer backoff.Quit()
	for ctx.Err() == nil {
		if c.conn.Closed() {
			return ErrClosed
		}
		switch err := f.step(ctx); {
		case err == nil:
			backoff.Over()
		case ctx.Err() == nil:
			c.meters.ReadRefused.Add(1)
			backoff.Pause(ctx, err)
		}
	}
	return nil
}

// Orders reads the orders of a run now and then, for who watches many runs and needs no
// order at once. It is not safe for concurrent use.
type Orders struct {
	follower *follower
	taken    []Delivery
}

// NewOrders stands at the beginning of the stream of a run.
func NewOrders(c *Client, stream string) *Orders {
	o := new(Orders)
	o.follower = c.follow(stream, func(id string, order *leyline.AdaptationCommand) {
		o.taken = append(o.taken, Delivery{
			Stream: stream, ID: id, Type: leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND, Payload: order,
			Attempt: 1, Published: timesOf(c.conn).Published(entry.StoredAt(id)),
		})
	})
	return o
}

// Next is what has come since the last call, 64 at most, and as FollowOrders takes it:
// what is no order is dropped and counted, one may come more than once, and the same
// permission is needed. It waits for none, and needs no connection of its own.
func (o *Orders) Next(ctx context.Context) ([]Delivery, error) {
	o.taken = nil
	if err := o.follower.step(ctx); err != nil {
		return nil, fmt.Errorf("read orders of %s: %w", o.follower.stream, err)
	}
	return o.taken, nil
}

// follower reads the orders of one run. A plain read takes nothing from anybody, so
// it may be cut off at any time.
type follower struct {
	c        *Client
	stream   string
	take     func(id string, order *leyline.AdaptationCommand)
	log      *slog.Logger
	line     *redis.Line       // on which it waits for orders; nil: it shares the client's and does not wait
	position string            // id of the last entry read
	known    map[string]string // entries that were read, with their signatures, since the last scan
	scanned  time.Time         // when the whole stream was last read
	told     map[string]bool   // reasons of drops
}

func (c *Client) follow(stream string, take func(id string, order *leyline.AdaptationCommand)) *follower {
	return &follower{c: c, stream: stream, take: take, position: firstID,
		log: c.log.With("stream", stream), told: make(map[string]bool)}
}

// step makes one read: of what is new, or now and then of everything there is.
func (f *follower) step(ctx context.Context) error {
	left := orderScan - time.Since(f.scanned)
	if f.scanned.IsZero() || left <= 0 {
		return f.scan(ctx)
	}
	entries, err := f.read(ctx, f.position, min(left, orderWait))
	if err != nil {
		f.scanned = time.Time{} // whatever happened, look at everything first
		return err
	}
	f.takeAll(entries, f.known)
	return nil
}

// scan reads the whole of the stream. It finds what the reads miss: a stream that
// began anew, by a clock that was set back, lies below their position.
func (f *follower) scan(ctx context.Context) error {
	entries, err := f.read(ctx, firstID, 0)
	if err != nil {
		return err
	}
	f.scanned, f.position = time.Now(), firstID
	known := make(map[string]string, len(entries))
	f.takeAll(entries, known)
	f.known = known
	return nil
}

// takeAll takes the entries that are not known, notes all of them in seen, and
// moves on behind the last one.
func (f *follower) takeAll(entries []entry.Entry, seen map[string]string) {
	for _, e := range entries {
		signature, known := f.known[e.ID]
		if !known || signature != e.Signature {
			f.open(e)
		}
		seen[e.ID], f.position = e.Signature, e.ID
	}
}

func (f *follower) open(e entry.Entry) {
	if !e.Found && e.Bootstrap {
		return
	}
	order, reason, err := f.c.openOrder(e, f.stream, timesOf(f.c.conn))
	if misdated(reason) {
		f.c.conn.AskTime() // its clock may have been set a moment ago
		order, reason, err = f.c.openOrder(e, f.stream, timesOf(f.c.conn))
	}
	if err == nil {
		f.c.meters.Consumed.Add(1)
		f.take(e.ID, order)
		return
	}
	f.c.meters.Drops.Add(reason, f.stream)
	if !f.told[reason] {
		f.told[reason] = true
		f.log.Warn("an order was dropped", "reason", reason, "entry", e.ID, "error", err)
	}
}

// openOrder reads an order, or says for what reason the entry is none. Whatever the
// client trusts elsewhere, an order must be bound to its stream.
func (c *Client) openOrder(e entry.Entry, stream string, at verify.Times) (*leyline.AdaptationCommand, string, error) {
	env, reason, err := c.verifier.Open(e, stream, true)
	if err != nil {
		return nil, reason, err
	}
	if env.Kind != leyline.BusMessageType_BUS_MESSAGE_TYPE_ADAPTATION_COMMAND {
		return nil, deadletter.ReasonWrongType, fmt.Errorf("type %s is no order", env.Kind)
	}
	order := new(leyline.AdaptationCommand)
	if err := proto.Unmarshal(env.Payload, order); err != nil {
		return nil, deadletter.ReasonUndecodable, fmt.Errorf("decode order: %w", err)
	}
	signed, stored := env.SignedAt(), entry.StoredAt(e.ID)
	if reason := c.windows.SoonStored(signed, stored, at); reason != "" {
		return nil, reason, fmt.Errorf("signed at %s, stored at %s",
			signed.Format(time.RFC3339Nano), stored.Format(time.RFC3339Nano))
	}
	return order, "", nil
}

// read asks for the entries behind an id, and waits for the first where it has a line for that.
func (f *follower) read(ctx context.Context, behind string, wait time.Duration) ([]entry.Entry, error) {
	if f.line != nil {
		return f.line.Look(ctx, wait, f.command(behind, wait))
	}
	ctx, cancel := context.WithTimeout(ctx, f.c.conn.Timeout)
	defer cancel()
	entries, err := entry.Read(f.c.conn.Do(ctx, f.command(behind, 0)))
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	return entries, err
}

func (f *follower) command(behind string, wait time.Duration) rueidis.Completed {
	read := f.c.conn.B().Xread().Count(maxOrders)
	if wait <= 0 {
		return read.Streams().Key(f.stream).Id(behind).Build()
	}
	return read.Block(max(1, wait.Milliseconds())).Streams().Key(f.stream).Id(behind).Build()
}
