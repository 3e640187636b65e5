package telemetryqueue

import (
	"context"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// Points count what became of packets.
func (q *Queue) Points() []metrics.Point {
	points := []metrics.Point{
		{Name: "weatherlight.telemetry.dropped_total", Value: float64(q.dropped.Load()), Unit: "count"},
		{Name: "weatherlight.telemetry.publish_failures_total", Value: float64(q.failed.Load()), Unit: "count"},
	}
	if count := q.droppedOfSeeds.Load(); count > 0 {
		points = append(points, metrics.Point{Name: "kasmina.telemetry.dropped_total", Value: float64(count), Unit: "count"})
	}
	for number := range q.byPriority {
		if count := q.byPriority[number].Load(); count > 0 {
			priority := leyline.MessagePriority(number).String()
			points = append(points, metrics.Point{
				Name: "weatherlight.telemetry.published_total", Value: float64(count), Unit: "count",
				Labels: []string{"priority", priority},
			})
		}
	}
	return points
}

// Points tell what waits for the bus; none when the file cannot be read, for a snapshot
// without them is better than none.
func (d Durable) Points(ctx context.Context) []metrics.Point {
	waiting, refused, err := d.Outbox.Waiting(ctx)
	if err != nil {
		return nil
	}
	return []metrics.Point{
		{Name: "weatherlight.outbox.waiting", Value: float64(waiting), Unit: "count"},
		{Name: "weatherlight.outbox.refused", Value: float64(refused), Unit: "count"},
	}
}

// Series explain the points, but that of Kasmina's packets.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_outbox_waiting", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Messages on disk that the bus has not taken yet."},
		{Name: "weatherlight_outbox_refused", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Messages on disk that the bus refused for good."},
		{Name: "weatherlight_telemetry_published_total", Labels: "priority", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Telemetry packets sent. A priority is absent before its first."},
		{Name: "weatherlight_telemetry_publish_failures_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Telemetry packets that the bus refused for their own sake; they are lost."},
		{Name: "weatherlight_telemetry_dropped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Telemetry packets that found no room in the queue; they are lost."},
	}
}

// SeedSeries explain the point that tells of Kasmina's packets.
func SeedSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "kasmina_telemetry_dropped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Packets of Kasmina among weatherlight_telemetry_dropped_total. Absent before the first."},
	}
}
