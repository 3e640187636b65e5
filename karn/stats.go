package karn

import (
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Stats are the selections from a catalogue since it was made.
type Stats struct {
	Selected, Failed                int64
	Safe, Experimental, Adversarial int64   // of those selected, by tier
	LatencyMs                       float64 // of the last one selected
	Opened, Denied                  int64   // times that the circuit opened, selections that it refused
	Circuit                         leyline.CircuitBreakerState
}

// Figures are the same as series.
func (s Stats) Figures() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Count("karn.requests.total", "Selections that gave a blueprint.", s.Selected),
		telemetry.Count("karn.requests.failed", "Selections that gave none: unknown, not permitted, or with wrong parameters.", s.Failed),
		telemetry.Count("karn.selection.safe", "Blueprints selected of the tier safe.", s.Safe),
		telemetry.Count("karn.selection.experimental", "Blueprints selected of the tier experimental.", s.Experimental),
		telemetry.Count("karn.selection.adversarial", "Blueprints selected of the tier high-risk, the adversarial ones.", s.Adversarial),
		telemetry.Measure("karn.selection.latency_ms", "ms", "Time of the last selection that gave a blueprint.", s.LatencyMs),
		telemetry.Measure("karn.breaker.state", "state",
			"Circuit of the approvals' look-up: 1 closed, 2 open, 3 half-open.", s.Circuit),
		telemetry.Count("karn.breaker.open_total", "Times that the circuit opened.", s.Opened),
		telemetry.Count("karn.breaker.denied", "Selections that the open circuit refused.", s.Denied),
	}
}
