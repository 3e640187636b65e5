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
func OfBus(ctx context.Context, bus *oona.Client) []Point {
	ctx, cancel := context.WithTimeout(ctx, BusTimeout)
	defer cancel()
	figures, err := bus.Metrics(ctx)
	points := Prefixed("oona.", figures, nil)
	points = append(points, Point{Name: "oona.metrics_complete", Value: Flag(err == nil), Unit: "bool"})
	for _, drop := range bus.Drops() {
		points = append(points, Point{
			Name: "oona.refused_total", Value: float64(drop.Count), Unit: "count",
			Labels: []string{"reason", drop.Reason, "stream", drop.Stream},
		})
	}
	return points
}

// BusSeries explain the point that says whether the bus could be asked; the others are
// the bus's.
func BusSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "oona_metrics_complete", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 when the bus could be asked; at 0, backlogs, depths and losses are missing."},
	}
}
