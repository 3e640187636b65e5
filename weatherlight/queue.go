package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

const (
	// telemetryQueueSize bounds what a dead bus can pile up: at the usual ten
	// packets a second this is more than a minute and a half.
	telemetryQueueSize = 1024
	// telemetryRetry is the pause between attempts while the bus is down.
	telemetryRetry = 500 * time.Millisecond
)

// telemetryQueue is the one way by which every part's packets reach the bus.
// Offering a packet never blocks: when the queue is full the packet is dropped
// and counted, so that a dead bus cannot hold up a worker.
type telemetryQueue struct {
	packets chan *leyline.TelemetryPacket
	publish func(context.Context, *leyline.TelemetryPacket, leyline.MessagePriority) error
	logger  *slog.Logger
	// setAside keeps a packet that the bus has no room for now; nil keeps none.
	setAside func(*leyline.TelemetryPacket) bool

	// pending is the packet in hand: it survives a restart of the worker.
	pending *leyline.TelemetryPacket

	dropped        atomic.Int64
	droppedOfSeeds atomic.Int64 // among the dropped
	failed         atomic.Int64
	byPriority     [leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL + 1]atomic.Int64
}

func newTelemetryQueue(logger *slog.Logger) *telemetryQueue {
	return &telemetryQueue{packets: make(chan *leyline.TelemetryPacket, telemetryQueueSize), logger: logger}
}

// Offer queues a packet for publication. It never blocks.
func (q *telemetryQueue) Offer(packet *leyline.TelemetryPacket) {
	if packet == nil || q.TryOffer(packet) {
		return
	}
	q.dropped.Add(1)
	if packet.GetSourceSubsystem() == "kasmina" {
		q.droppedOfSeeds.Add(1)
	}
}

// TryOffer queues a packet, or returns false when there is no room: the caller
// keeps it then.
func (q *telemetryQueue) TryOffer(packet *leyline.TelemetryPacket) bool {
	select {
	case q.packets <- packet:
		return true
	default:
		return false
	}
}

// Run publishes packets until ctx is done. What is still queued then goes out
// with the final flush, after the workers that may still add to it have
// stopped.
func (q *telemetryQueue) Run(ctx context.Context) error {
	for {
		if q.pending == nil {
			select {
			case <-ctx.Done():
				return nil
			case q.pending = <-q.packets:
			}
		}
		if err := q.deliverPending(ctx); err != nil && !cadence.Sleep(ctx, telemetryRetry) {
			return nil
		}
	}
}

// Flush publishes what is queued, until the queue is empty, the bus refuses or
// ctx is done.
func (q *telemetryQueue) Flush(ctx context.Context) error {
	for {
		if q.pending == nil {
			select {
			case q.pending = <-q.packets:
			default:
				return nil
			}
		}
		if err := q.deliverPending(ctx); err != nil {
			return fmt.Errorf("flush telemetry: %w", err)
		}
	}
}

// deliverPending publishes the packet in hand. It returns an error, and keeps
// the packet, only when the bus cannot be reached: a packet that the bus
// refuses for its own sake would be refused again.
func (q *telemetryQueue) deliverPending(ctx context.Context) error {
	priority := telemetry.Priority(q.pending)
	err := q.publish(ctx, q.pending, priority)
	if errors.Is(err, oona.ErrUnavailable) || ctx.Err() != nil && err != nil {
		return err
	}
	if isPressure(err) && priority >= leyline.MessagePriority_MESSAGE_PRIORITY_HIGH && q.setAside != nil && q.setAside(q.pending) {
		q.pending = nil // An alarm is late then, but not lost.
		return nil
	}
	if err != nil {
		q.failed.Add(1)
		q.logger.Debug("telemetry packet refused", "packet", q.pending.GetPacketId(), "error", err)
	} else {
		q.byPriority[priority].Add(1)
	}
	q.pending = nil
	return nil
}
