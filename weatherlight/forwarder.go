package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

const (
	// forwardQueueSize is a little more than the whole catalogue, so that a
	// forge pass is never held up by a slow bus.
	forwardQueueSize = 64
	forwardRetry     = 500 * time.Millisecond
)

// catalogPublisher is what the forwarder needs of the bus.
type catalogPublisher interface {
	PublishKernelCatalogUpdate(ctx context.Context, update *leyline.KernelCatalogUpdate) error
}

// catalogForwarder announces stored kernels on the bus, in order, and holds on
// to each announcement until the bus has taken it.
type catalogForwarder struct {
	bus     catalogPublisher
	updates chan *leyline.KernelCatalogUpdate
	pending *leyline.KernelCatalogUpdate
}

func newCatalogForwarder(bus catalogPublisher) *catalogForwarder {
	return &catalogForwarder{bus: bus, updates: make(chan *leyline.KernelCatalogUpdate, forwardQueueSize)}
}

// Announce queues an announcement. It waits while the queue is full.
func (f *catalogForwarder) Announce(ctx context.Context, update *leyline.KernelCatalogUpdate) error {
	select {
	case f.updates <- update:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("announce kernel %s: %w", update.GetBlueprintId(), ctx.Err())
	}
}

// Run publishes announcements until ctx is done, and then what is still queued
// as far as the bus takes it at once.
func (f *catalogForwarder) Run(ctx context.Context) error {
	for {
		if !f.next(ctx) {
			return nil
		}
		// The publication itself must not be cut off by the request to stop: it
		// would be sent again after a restart.
		err := f.bus.PublishKernelCatalogUpdate(context.WithoutCancel(ctx), f.pending)
		if errors.Is(err, oona.ErrUnavailable) || errors.Is(err, oona.ErrOverloaded) {
			if !sleep(ctx, forwardRetry) {
				return nil
			}
			continue
		}
		update := f.pending
		f.pending = nil
		if err != nil {
			return fmt.Errorf("announce kernel %s: %w", update.GetBlueprintId(), err)
		}
	}
}

// next takes up the next announcement; false means that there is nothing more
// to do.
func (f *catalogForwarder) next(ctx context.Context) bool {
	if f.pending != nil {
		return true
	}
	select {
	case f.pending = <-f.updates:
		return true
	default:
	}
	select {
	case f.pending = <-f.updates:
		return true
	case <-ctx.Done():
		return false
	}
}
