package gate

import (
	"math"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
)

// impact is what the held-out figures say of a seed in the model.
type impact int

const (
	impactNone      impact = iota // no gain worth keeping
	impactUnknown                 // a gain, but nobody can tell it from noise yet
	impactEarned                  // a gain that is larger than the noise
	impactRegressed               // clear harm
)

// weigh judges the last report's figures, and those of the stage before it
// where no error is told with them.
func weigh(p *evidence.Progress, rules promotion.Rules) impact {
	last := p.Latest()
	loss, accuracy := lossImpact(p, rules), accuracyImpact(p, rules)
	switch {
	case last.LossAfter == evidence.Broken,
		last.LossesFinite() && float64(last.LossAfter) > worstLoss(float64(last.LossBefore), rules):
		return impactRegressed // whatever else it brings
	case loss == impactEarned || accuracy == impactEarned:
		return impactEarned
	case loss == impactUnknown || accuracy == impactUnknown:
		return impactUnknown
	default:
		return impactNone
	}
}

func worstLoss(before float64, rules promotion.Rules) float64 {
	return before + math.Abs(before)*rules.MaxRegression
}

func lossImpact(p *evidence.Progress, rules promotion.Rules) impact {
	last := p.Latest()
	if !last.LossesFinite() {
		return impactNone
	}
	before := float64(last.LossBefore)
	gain := before - float64(last.LossAfter)
	if gain <= 0 || gain < math.Abs(before)*rules.MinGain {
		return impactNone
	}
	return significance(gain, last.LossError, p.LossGains, rules.Sigma)
}

func accuracyImpact(p *evidence.Progress, rules promotion.Rules) impact {
	last := p.Latest()
	if !last.AccuracyBefore.Finite() || !last.AccuracyAfter.Finite() {
		return impactNone
	}
	// Rounded, so that a gain of just the bound is one.
	gain := float64(last.AccuracyAfter) - float64(last.AccuracyBefore)
	if gain <= 0 || gain < rules.AccuracyGain-1e-7 {
		return impactNone
	}
	return significance(gain, last.AccuracyError, p.AccuracyGains, rules.Sigma)
}

// significance compares a gain with the standard error told with it. Without
// one, the mean of the distinct gains of the stage is compared with its own.
func significance(gain float64, reported evidence.Figure, gains []evidence.Figure, sigma float64) impact {
	if sigma < 0 {
		return impactEarned
	}
	deviation := math.Abs(float64(reported))
	if !reported.Finite() {
		if len(gains) < 2 {
			return impactUnknown
		}
		gain, deviation = meanOf(gains)
	}
	if gain > sigma*deviation {
		return impactEarned
	}
	return impactNone
}

// meanOf is the mean of at least two figures and its standard error.
func meanOf(figures []evidence.Figure) (mean, deviation float64) {
	n := float64(len(figures))
	for _, f := range figures {
		mean += float64(f) / n
	}
	for _, f := range figures {
		deviation += (float64(f) - mean) * (float64(f) - mean)
	}
	return mean, math.Sqrt(deviation / (n - 1) / n)
}
