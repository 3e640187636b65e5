package telemetryqueue

import (
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Figures count what became of packets.
func (q *Queue) Figures() []telemetry.Figure {
	ofSeeds := q.droppedOfSeeds.Load()
	published := telemetry.CountEach[int64]("weatherlight.telemetry.published_total{priority}",
		"Telemetry packets sent. A priority is absent before its first.", nil)
	for number := range q.byPriority {
		if count := q.byPriority[number].Load(); count > 0 {
			published = published.With(float64(count), leyline.MessagePriority(number).String())
		}
	}
	return []telemetry.Figure{
		telemetry.Count("weatherlight.telemetry.dropped_total",
			"Telemetry packets that found no room in the queue; they are lost.", q.dropped.Load()),
		telemetry.Count("weatherlight.telemetry.publish_failures_total",
			"Telemetry packets that the bus refused for their own sake; they are lost.", q.failed.Load()),
		telemetry.Count("kasmina.telemetry.dropped_total",
			"Packets of Kasmina among weatherlight_telemetry_dropped_total. Absent before the first.", ofSeeds).If(ofSeeds > 0),
		published,
	}
}

// Waiting tells what waits for the bus; nothing when the file could not be read, for a snapshot
// without it is better than none.
func Waiting(waiting, refused int, err error) []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Measure("weatherlight.outbox.waiting", "count",
			"Messages on disk that the bus has not taken yet.", waiting).If(err == nil),
		telemetry.Measure("weatherlight.outbox.refused", "count",
			"Messages on disk that the bus refused for good.", refused).If(err == nil),
	}
}
