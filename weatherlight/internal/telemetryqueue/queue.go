// Package telemetryqueue brings telemetry packets to the bus, and what must not be lost to
// the disk until the bus has it.
//
// A [Queue] is the way of every packet: offering one never blocks. [Durable] keeps alarms,
// field reports and announcements of kernels in the outbox. The service has one of each, and
// every part offers to them; [Series] explain their points.
package telemetryqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	// queueSize bounds what a dead bus can pile up: at the usual ten
	// packets a second this is more than a minute and a half.
	queueSize = 1024
	// retryPause is the pause between attempts while the bus is down.
	retryPause = 500 * time.Millisecond
	// batchSize bounds the packets that go to the bus at once: one by one, each would wait for the
	// bus, and a run that is decided on often would fill the queue.
	batchSize = 64
)

// Config says where packets go.
type Config struct {
	// Publish sends packets to the bus, as (*oona.Client).Publish does.
	Publish func(context.Context, ...oona.Message) error
	// Keep keeps a packet on disk until the bus has it; false means that there is no room.
	Keep   func(*leyline.TelemetryPacket) bool
	Logger *slog.Logger
}

// Queue is the one way by which every part's packets reach the bus.
// Offering a packet never blocks: when the queue is full the packet is dropped
// and counted, so that a dead bus cannot hold up a worker.
type Queue struct {
	config  Config
	packets chan *leyline.TelemetryPacket

	// pending are the packets in hand: they survive a restart of the worker.
	pending []*leyline.TelemetryPacket
	since   atomic.Pointer[time.Time] // since when they are in hand; nil: none is

	dropped        atomic.Int64
	droppedOfSeeds atomic.Int64 // among the dropped
	failed         atomic.Int64

	mu         sync.Mutex
	refused    map[string]int64 // packets that the bus refused for their own sake, by who made them
	byPriority [leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL + 1]atomic.Int64
}

// New is an empty queue. It publishes nothing until it runs.
func New(config Config) *Queue {
	return &Queue{config: config, packets: make(chan *leyline.TelemetryPacket, queueSize), refused: make(map[string]int64)}
}

// Offer queues a packet for publication. It never blocks.
func (q *Queue) Offer(packet *leyline.TelemetryPacket) {
	if packet == nil || q.tryOffer(packet) {
		return
	}
	q.dropped.Add(1)
	if packet.GetSourceSubsystem() == "kasmina" {
		q.droppedOfSeeds.Add(1)
	}
}

// Raise takes an alarm over until it is delivered, whatever the bus says
// meanwhile. It returns false when there is room for it nowhere.
func (q *Queue) Raise(packet *leyline.TelemetryPacket) bool {
	return q.config.Keep(packet) || q.tryOffer(packet)
}

// Acknowledge takes over what became of a message until the bus has
// stored it: who sent the message may be waiting for it.
func (q *Queue) Acknowledge(packet *leyline.TelemetryPacket) {
	if !q.config.Keep(packet) {
		q.Offer(packet)
	}
}

func (q *Queue) tryOffer(packet *leyline.TelemetryPacket) bool {
	select {
	case q.packets <- packet:
		return true
	default:
		return false
	}
}

// Waiting is how many packets are queued.
func (q *Queue) Waiting() int { return len(q.packets) }

// Dropped is how many packets found no room.
func (q *Queue) Dropped() int64 { return q.dropped.Load() }

// Lost counts the packets that never went out: under "" those that found no room, and
// by who made them those that the bus refused for their own sake.
func (q *Queue) Lost() map[string]int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	lost := maps.Clone(q.refused)
	lost[""] = q.Dropped()
	return lost
}

// refuse notes a packet that the bus refused for its own sake.
func (q *Queue) refuse(packet *leyline.TelemetryPacket, err error) {
	q.failed.Add(1)
	q.mu.Lock()
	q.refused[packet.GetSourceSubsystem()]++
	q.mu.Unlock()
	q.config.Logger.Debug("telemetry packet refused", "packet", packet.GetPacketId(), "error", err)
}

// Run publishes packets until ctx is done. What is still queued then goes out
// with the final flush, after the workers that may still add to it have
// stopped.
func (q *Queue) Run(ctx context.Context) error {
	for {
		if len(q.pending) == 0 {
			select {
			case <-ctx.Done():
				return nil
			case packet := <-q.packets:
				q.take(packet)
			}
		}
		if err := q.deliverPending(ctx); err != nil && !cadence.Sleep(ctx, retryPause) {
			return nil
		}
	}
}

// take takes a packet in hand, with those that wait behind it.
func (q *Queue) take(packet *leyline.TelemetryPacket) {
	now := time.Now()
	q.since.Store(&now)
	for q.pending = append(q.pending, packet); len(q.pending) < batchSize; {
		select {
		case packet := <-q.packets:
			q.pending = append(q.pending, packet)
		default:
			return
		}
	}
}

// retain lets go of the packets in hand, but for those that are left.
func (q *Queue) retain(left []*leyline.TelemetryPacket) {
	clear(q.pending[len(left):])
	q.pending = left
	if len(left) == 0 {
		q.since.Store(nil)
	}
}

// InHand is since when packets are being published, zero when none is.
func (q *Queue) InHand() time.Time {
	if since := q.since.Load(); since != nil {
		return *since
	}
	return time.Time{}
}

// Flush publishes what is queued, until the queue is empty, the bus refuses or
// ctx is done.
func (q *Queue) Flush(ctx context.Context) error {
	for {
		if len(q.pending) == 0 {
			select {
			case packet := <-q.packets:
				q.take(packet)
			default:
				return nil
			}
		}
		if err := q.deliverPending(ctx); err != nil {
			return fmt.Errorf("flush telemetry: %w", err)
		}
	}
}

// deliverPending publishes the packets in hand. It returns an error, and keeps
// those of which it is one, only when the bus cannot be reached: a packet that the
// bus refuses for its own sake would be refused again.
func (q *Queue) deliverPending(ctx context.Context) (failure error) {
	messages := make([]oona.Message, len(q.pending))
	for i, packet := range q.pending {
		messages[i] = oona.Message{Payload: packet, Priority: telemetry.Priority(packet)}
	}
	failures := byMessage(q.config.Publish(ctx, messages...), len(messages))
	left := q.pending[:0]
	for i, packet := range q.pending {
		err := failures[i]
		if errors.Is(err, oona.ErrUnavailable) || ctx.Err() != nil && err != nil {
			left, failure = append(left, packet), err
			continue
		}
		q.settle(packet, messages[i].Priority, err)
	}
	q.retain(left)
	return failure
}

// settle notes what became of a packet that the bus has answered.
func (q *Queue) settle(packet *leyline.TelemetryPacket, priority leyline.MessagePriority, err error) {
	switch {
	case err == nil:
		q.byPriority[priority].Add(1)
	case underPressure(err) && priority >= leyline.MessagePriority_MESSAGE_PRIORITY_HIGH && q.config.Keep(packet):
		// An alarm is late then, but not lost.
	default:
		q.refuse(packet, err)
	}
}

// byMessage is what became of each message: an error that names none is that of all.
func byMessage(err error, messages int) []error {
	failures := make([]error, messages)
	all := []error{err}
	if joined, is := err.(interface{ Unwrap() []error }); is {
		all = joined.Unwrap()
	}
	for _, single := range all {
		if refused, is := errors.AsType[*oona.PublishError](single); is {
			failures[refused.Index] = single
			continue
		}
		for i := range failures {
			failures[i] = cmp.Or(failures[i], single)
		}
	}
	return failures
}

// underPressure says that the bus has no room now for what it would else take.
func underPressure(err error) bool {
	return errors.Is(err, oona.ErrRateLimited) || errors.Is(err, oona.ErrOverloaded)
}
