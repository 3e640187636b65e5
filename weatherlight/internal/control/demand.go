package control

import (
	"context"
	"fmt"
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
}

func (r *Room) newDemand() demand {
	return demand{ready: oona.NewDemand(r.awaits, r.awaitedElsewhere), refusals: oona.NewDemand(r.awaits, r.awaitedElsewhere)}
}

// ReadyDemand and RefusalDemand are for the subscriptions to the streams of answers.
func (r *Room) ReadyDemand() *oona.Demand { return r.demand.ready }

// RefusalDemand is that of the stream of errors.
func (r *Room) RefusalDemand() *oona.Demand { return r.demand.refusals }

// awaits says whether this instance has asked for a kernel a while ago.
func (r *Room) awaits() bool { return time.Now().UnixMilli() < r.awaitsUntil.Load() }

func (r *Room) awaitedElsewhere(ctx context.Context) (bool, error) {
	return r.config.Awaits.Awaited(ctx, PartKasmina)
}

// patience is how long answers are read after a kernel was asked for. Whoever waits
// longer has asked again.
func (r *Room) patience() time.Duration {
	return max(leastPatience, r.config.PrefetchTimeout+lateness)
}

// await has the answers read, here and wherever else, before a kernel is asked for.
func (r *Room) await(ctx context.Context) error {
	patience := r.patience()
	if err := r.config.Awaits.Await(ctx, PartKasmina, patience); err != nil {
		return fmt.Errorf("have the answers read: %w", err)
	}
	r.awaitsUntil.Store(time.Now().Add(patience).UnixMilli())
	r.demand.ready.Raise()
	r.demand.refusals.Raise()
	return nil
}
