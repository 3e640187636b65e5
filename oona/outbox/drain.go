package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// round is how many messages are looked at, and removed, together.
const round = 100

// row is one waiting message.
type row struct {
	seq     int64
	message oona.Message
	fault   error // it cannot be read back
}

// Run drains the outbox to a bus until ctx is done; it returns nil then. A failure of the bus
// or of the file is told once and tried again, for it may be gone at any moment; Oldest tells
// of that of the file for as long as it lasts.
func (o *Outbox) Run(ctx context.Context, bus Publisher) error {
	pause, failing := o.cfg.Pause, false
	for {
		err := o.drain(ctx, bus)
		if ctx.Err() != nil {
			return nil
		}
		o.note(err)
		if failing != (err != nil) {
			failing = err != nil
			o.tell(err)
			pause = o.cfg.Pause
		}
		o.rest(ctx, pause, err)
		pause = min(2*pause, 4*o.cfg.Pause)
	}
}

// fault is a failure of the file that lasts.
type fault struct {
	since time.Time
	err   *fileError
}

// note keeps since when the file fails.
func (o *Outbox) note(err error) {
	failure, broken := errors.AsType[*fileError](err)
	switch before := o.fault.Load(); {
	case !broken:
		o.fault.Store(nil)
	case before == nil:
		o.fault.Store(&fault{time.Now(), failure})
	default:
		o.fault.Store(&fault{before.since, failure})
	}
}

// tell logs the two ends of an episode.
func (o *Outbox) tell(err error) {
	if err != nil {
		o.cfg.Logger.Warn("outbox waits", "error", err)
		return
	}
	o.cfg.Logger.Info("outbox is drained again")
}

// rest waits for something to do: for a Put, after a failure for the pause at most. A bus
// that failed is not asked at each Put, but a file that takes one has room again.
func (o *Outbox) rest(ctx context.Context, pause time.Duration, failed error) {
	if failed == nil {
		select {
		case <-o.wake:
		case <-ctx.Done():
		}
		return
	}
	wake := o.wake
	if _, broken := errors.AsType[*fileError](failed); !broken {
		wake = nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// fileError marks a failure of the file, which no bus can cure.
type fileError struct{ err error }

func (e *fileError) Error() string { return "outbox file: " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// drain publishes what is waiting, a round at a time. A file that only cannot be written to
// keeps nothing from the bus.
func (o *Outbox) drain(ctx context.Context, bus Publisher) error {
	held := make(map[string]bool) // lanes behind a message that was not admitted
	var failed error
	for last := int64(0); ; {
		rows, err := o.oldest(ctx, last)
		if err != nil {
			return &fileError{err}
		}
		further, err := o.publishRound(ctx, bus, rows, held)
		failed = errors.Join(failed, err)
		unremoved := o.removeStored(ctx)
		if len(rows) < round || !further {
			return errors.Join(failed, unremoved)
		}
		last = rows[len(rows)-1].seq
	}
}

// stops reports whether there is no point in trying the next message. What keeps one
// stream from being written to says nothing of the others.
func stops(err error) bool {
	return (errors.Is(err, oona.ErrUnavailable) || errors.Is(err, oona.ErrClosed)) && !redis.IsStreamFault(err)
}

// publishRound publishes one message after the other, so that a failure cannot
// turn the order around. It reports whether there is a point in going on.
func (o *Outbox) publishRound(ctx context.Context, bus Publisher, rows []row, held map[string]bool) (further bool, failed error) {
	for _, r := range rows {
		lane := laneOf(r.message)
		if o.stored[r.seq] || held[lane] {
			continue
		}
		err := o.publish(ctx, bus, r)
		switch {
		case err == nil:
			o.stored[r.seq] = true
			o.move()
		case permanent(err):
			failed = errors.Join(failed, o.refuse(ctx, r.seq, err))
		default:
			held[lane] = true
			failed = errors.Join(failed, err)
		}
		if stops(err) || ctx.Err() != nil {
			return false, failed
		}
	}
	return true, failed
}

// laneOf is what keeps its order: messages that travel to one stream.
func laneOf(m oona.Message) string {
	return fmt.Sprint(m.Stream, "/", leyline.TypeOf(m.Payload).Number(), "/", m.Priority.Number())
}

func (o *Outbox) publish(ctx context.Context, bus Publisher, r row) error {
	if r.fault != nil {
		return r.fault
	}
	return bus.Publish(ctx, r.message)
}

// errUnreadable marks a row that no message can be made of.
var errUnreadable = errors.New("stored message is unreadable")

func permanent(err error) bool {
	return errors.Is(err, oona.ErrTooLarge) || errors.Is(err, oona.ErrNotPublishable) || errors.Is(err, errUnreadable)
}

// oldest lists one round of waiting messages that follow a sequence number.
func (o *Outbox) oldest(ctx context.Context, after int64) ([]row, error) {
	const query = `SELECT seq, name, type, priority, stream, attributes, payload FROM outbox
		WHERE refused IS NULL AND seq > ? ORDER BY seq LIMIT ?`
	found, err := o.db.QueryContext(ctx, query, after, round)
	if err != nil {
		return nil, fmt.Errorf("list waiting messages: %w", err)
	}
	defer found.Close()
	var rows []row
	for found.Next() {
		var r row
		var kind, priority int32
		var attributes string
		var payload []byte
		m := &r.message
		if err := found.Scan(&r.seq, &m.Once, &kind, &priority, &m.Stream, &attributes, &payload); err != nil {
			return nil, fmt.Errorf("read waiting message: %w", err)
		}
		m.Priority = leyline.MessagePriority(priority)
		r.fault = decode(m, leyline.BusMessageType(kind), attributes, payload)
		rows = append(rows, r)
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("list waiting messages: %w", err)
	}
	return rows, nil
}

func decode(m *oona.Message, kind leyline.BusMessageType, attributes string, payload []byte) error {
	if m.Payload = leyline.NewMessage(kind); m.Payload == nil {
		return fmt.Errorf("%w: type %d", errUnreadable, kind)
	}
	if err := proto.Unmarshal(payload, m.Payload); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err := json.Unmarshal([]byte(attributes), &m.Attributes); err != nil {
		return fmt.Errorf("%w: attributes: %w", errUnreadable, err)
	}
	return nil
}

// removeStored forgets messages the bus has stored, in one commit. While the file
// cannot be written, they are known here, and not published again.
func (o *Outbox) removeStored(ctx context.Context) error {
	if len(o.stored) == 0 {
		return nil
	}
	if err := o.remove(ctx, o.stored); err != nil {
		return &fileError{err}
	}
	clear(o.stored)
	return nil
}

func (o *Outbox) remove(ctx context.Context, stored map[int64]bool) error {
	// A stop must not make the next start publish again what the bus has.
	ctx = context.WithoutCancel(ctx)
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("remove stored messages: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to roll back once committed
	for seq := range stored {
		if _, err := tx.ExecContext(ctx, "DELETE FROM outbox WHERE seq = ?", seq); err != nil {
			return fmt.Errorf("remove stored message: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("remove stored messages: %w", err)
	}
	return nil
}

// refuse sets a message aside that the bus will never accept: it must not hold
// up the others, and is kept for inspection.
func (o *Outbox) refuse(ctx context.Context, seq int64, cause error) error {
	_, err := o.db.ExecContext(ctx, "UPDATE outbox SET refused = ? WHERE seq = ?", cause.Error(), seq)
	if err != nil {
		return &fileError{fmt.Errorf("set message aside: %w", err)}
	}
	o.cfg.Logger.Error("outbox holds a message that cannot be published", "seq", seq, "error", cause)
	const newest = `DELETE FROM outbox WHERE refused IS NOT NULL AND seq NOT IN
		(SELECT seq FROM outbox WHERE refused IS NOT NULL ORDER BY seq DESC LIMIT ?)`
	if _, err := o.db.ExecContext(ctx, newest, o.cfg.Capacity); err != nil {
		return &fileError{fmt.Errorf("bound messages set aside: %w", err)}
	}
	return nil
}
