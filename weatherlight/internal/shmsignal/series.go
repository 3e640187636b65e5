package shmsignal

import (
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// Points are the counters of the segments, absent before the first. What became of an
// emergency is counted by whoever is told of it.
func (w *Watch) Points() []metrics.Point {
	skipped := Stats{Skipped: w.Stats(Emergency).Skipped}
	return append(points(w.Stats(Rollback), "weatherlight.rollback"), points(skipped, "weatherlight.emergency")...)
}

// points are the counters of a segment under a prefix. Those that never counted
// are left out.
func points(stats Stats, prefix string) []metrics.Point {
	var points []metrics.Point
	if stats.Detections > 0 {
		points = append(points,
			metrics.Point{Name: prefix + ".detections_total", Value: float64(stats.Detections), Unit: "count"},
			metrics.Point{Name: prefix + ".last_detect_ms_ago", Value: metrics.SinceMs(stats.LastAt), Unit: "ms"})
	}
	if stats.Skipped > 0 {
		points = append(points, metrics.Point{Name: prefix + ".skipped_total", Value: float64(stats.Skipped), Unit: "count"})
	}
	return points
}

// Series explain the points.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_emergency_skipped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Emergency signals of shared memory that came too soon after another; those are reported together, as one."},
		{Name: "weatherlight_rollback_detections_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Rollback signals of shared memory that were reported."},
		{Name: "weatherlight_rollback_last_detect_ms_ago", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time since the last rollback signal."},
		{Name: "weatherlight_rollback_skipped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Rollback signals that came too soon after another; those are reported together, as one."},
	}
}
