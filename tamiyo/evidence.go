package tamiyo

import (
	"math"

	"github.com/esper-lite/weatherlight/leyline"
)

// Keys of SeedState.metrics that a trainer measures a seed's worth with:
// validation loss and accuracy (0..1) of the host without and with the seed.
const (
	metricLossBefore     = "loss_before"
	metricLossAfter      = "loss_after"
	metricAccuracyBefore = "accuracy_before"
	metricAccuracyAfter  = "accuracy_after"
)

// evidence is what a seed changed, as last measured.
type evidence struct {
	known        bool
	lossDelta    float64 // after − before: negative is better
	lossGain     float64 // fall of the loss relative to before
	accuracyGain float64 // after − before; 0 when not measured
	hasAccuracy  bool
}

func evidenceOf(state *leyline.SeedState) evidence {
	var e evidence
	if before, after, ok := measured(state, metricLossBefore, metricLossAfter); ok {
		e.known = true
		e.lossDelta = after - before
		e.lossGain = -e.lossDelta / max(math.Abs(before), 1e-6)
	}
	if before, after, ok := measured(state, metricAccuracyBefore, metricAccuracyAfter); ok {
		e.known, e.hasAccuracy = true, true
		e.accuracyGain = after - before
	}
	return e
}

func measured(state *leyline.SeedState, before, after string) (float64, float64, bool) {
	b, hasBefore := state.GetMetrics()[before]
	a, hasAfter := state.GetMetrics()[after]
	finite := !math.IsNaN(float64(a-b)) && !math.IsInf(float64(a-b), 0)
	return float64(b), float64(a), hasBefore && hasAfter && finite
}

// improves: better by one measure and not worse by the other.
func (e evidence) improves(c Config) bool {
	return e.known && (e.accuracyGain >= c.MinAccuracyGain || e.lossGain >= c.MinLossGain) && !e.regresses(c)
}

// regresses: less accurate, or a higher loss that no accuracy makes up for.
func (e evidence) regresses(c Config) bool {
	if !e.known {
		return false
	}
	return e.accuracyGain <= -c.MinAccuracyGain ||
		e.lossGain <= -c.MinLossGain && e.accuracyGain < c.MinAccuracyGain
}
