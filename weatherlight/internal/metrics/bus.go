package metrics

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// BusTimeout bounds the look at the bus: a slow bus makes a snapshot
// partial, it does not hold it up.
const BusTimeout = time.Second

// OfBus are the figures of a bus. One that is down gives its own counters and leaves the
// depths out; the error is told by the breaker's state and by the workers.
func OfBus(ctx context.Context, bus *oona.Client) []telemetry.Figure {
	ctx, cancel := context.WithTimeout(ctx, BusTimeout)
	defer cancel()
	stats, err := bus.Stats(ctx)
	return append(telemetry.Bare(stats.Figures()), Complete(err == nil), oona.Refused(bus.Drops()))
}

// Complete says whether the bus could be asked.
func Complete(asked bool) telemetry.Figure {
	return telemetry.Is("oona.metrics_complete",
		"1 when the bus could be asked; at 0, backlogs, depths and losses are missing.", asked)
}
