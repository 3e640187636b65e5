package shmsignal

import "github.com/esper-lite/weatherlight/telemetry"

// Figures are the counters of the segments, absent before the first. What became of an
// emergency is counted by whoever is told of it.
func (w *Watch) Figures() []telemetry.Figure {
	rollback, emergency := w.Stats(Rollback), w.Stats(Emergency)
	return []telemetry.Figure{
		telemetry.Count("weatherlight.rollback.detections_total",
			"Rollback signals of shared memory that were reported.", rollback.Detections).If(rollback.Detections > 0),
		telemetry.Since("weatherlight.rollback.last_detect_ms_ago", "Time since the last rollback signal.", rollback.LastAt),
		telemetry.Count("weatherlight.rollback.skipped_total",
			"Rollback signals that came too soon after another; those are reported together, as one.",
			rollback.Skipped).If(rollback.Skipped > 0),
		telemetry.Count("weatherlight.emergency.skipped_total",
			"Emergency signals of shared memory that came too soon after another; those are reported together, as one.",
			emergency.Skipped).If(emergency.Skipped > 0),
	}
}
