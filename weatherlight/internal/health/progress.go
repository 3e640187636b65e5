package health

import (
	"context"
	"time"
)

// itemBound is how long a worker may take for one item. A round of tidying up has until
// the next one is due for each of its jobs.
const itemBound = 15 * time.Second

// progress is how the work of one worker goes.
type progress struct {
	worker, item string
	since        time.Time // that it has had the item and finished nothing; zero: it has none
	within       time.Duration
}

// inHand is how the work of those goes that take one item after the other.
func (c Config) inHand(ctx context.Context) []progress {
	job, begun := c.Workers.Job()
	all := []progress{
		{"housekeeping", job, begun, max(itemBound, c.Maintenance)},
		{"telemetry", "a packet is not taken by the bus", c.Telemetry.InHand(), itemBound},
	}
	waits := "messages wait and none is taken by the bus"
	since, err := c.Outbox.Oldest(ctx)
	if err != nil {
		waits = err.Error()
	}
	all = append(all, progress{"outbox", waits, since, itemBound})
	for _, hand := range c.Bus.Health().InHand {
		all = append(all, progress{hand.Stream, "entry " + hand.Entry + " is being handled", hand.Since, itemBound})
	}
	return all
}

// standstills finds workers that have had something in hand for too long.
func standstills(inHand func(context.Context) []progress) func(context.Context) []finding {
	return func(ctx context.Context) []finding {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var found []finding
		for _, p := range inHand(ctx) {
			if !p.since.IsZero() && time.Since(p.since) > p.within {
				found = append(found, finding{p.worker, p.item + " since " + p.since.UTC().Format(time.RFC3339)})
			}
		}
		return found
	}
}
