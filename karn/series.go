package karn

import "github.com/esper-lite/weatherlight/telemetry"

// Series tell what was chosen from a catalogue. Their names are those of Catalog.Metrics.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "karn_requests_total", Kind: telemetry.Counter, Unit: "count", Meaning: "Selections that gave a blueprint."},
		{Name: "karn_requests_failed", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Selections that gave none: unknown, not permitted, or with wrong parameters."},
		{Name: "karn_selection_safe", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints selected of the tier safe."},
		{Name: "karn_selection_experimental", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints selected of the tier experimental."},
		{Name: "karn_selection_adversarial", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints selected of the tier high-risk, the adversarial ones."},
		{Name: "karn_selection_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the last selection that gave a blueprint."},
		{Name: "karn_breaker_state", Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Circuit of the approvals' look-up: 1 closed, 2 open, 3 half-open."},
		{Name: "karn_breaker_open_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Times that the circuit opened."},
		{Name: "karn_breaker_denied", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Selections that the open circuit refused."},
	}
}
