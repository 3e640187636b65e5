package control

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/oona"
)

const (
	// leastPatience is how long answers are read at least after a kernel was asked for:
	// where answers take long, a run waits up to a minute before it asks again.
	leastPatience = 2 * time.Minute
	// lateness is how much later than it wants to a run may ask again.
	lateness = time.Minute
)

// demand says whether anybody waits for kernels. The streams of answers carry those
// to everybody's requests; while no run waits they are skipped unread.
type demand struct {
	ready, refusals *oona.Demand
	elsewhere       Awaits
	patience        time.Duration // how long answers are read after a request: whoever waits longer has asked again
	until           atomic.Int64  // unix milliseconds to which this instance awaits answers
}

func newDemand(elsewhere Awaits, prefetchTimeout time.Duration) *demand {
	d := &demand{elsewhere: elsewhere, patience: max(leastPatience, prefetchTimeout+lateness)}
	d.ready, d.refusals = oona.NewDemand(d.here, d.anywhere), oona.NewDemand(d.here, d.anywhere)
	return d
}

// here says whether this instance has asked for a kernel a while ago.
func (d *demand) here() bool { return time.Now().UnixMilli() < d.until.Load() }

func (d *demand) anywhere(ctx context.Context) (bool, error) {
	return d.elsewhere.Awaited(ctx, PartKasmina)
}

// await has the answers read, here and wherever else, before a kernel is asked for.
func (d *demand) await(ctx context.Context) error {
	if err := d.elsewhere.Await(ctx, PartKasmina, d.patience); err != nil {
		return fmt.Errorf("have the answers read: %w", err)
	}
	d.until.Store(time.Now().Add(d.patience).UnixMilli())
	d.ready.Raise()
	d.refusals.Raise()
	return nil
}

// ReadyDemand and RefusalDemand are for the subscriptions to the streams of answers.
func (r *Room) ReadyDemand() *oona.Demand { return r.demand.ready }

// RefusalDemand is that of the stream of errors.
func (r *Room) RefusalDemand() *oona.Demand { return r.demand.refusals }
