package tamiyo

import (
	"math"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// evidence is what a seed changed, as last measured by its trainer: validation
// loss and accuracy (0..1) of the host without and with the seed.
type evidence struct {
	Known        bool    `json:"known"`
	LossDelta    float32 `json:"loss_delta"`              // after − before: negative is better
	AccuracyGain float32 `json:"accuracy_gain,omitempty"` // after − before; 0 when not measured
	HasAccuracy  bool    `json:"has_accuracy,omitempty"`
	Better       bool    `json:"better,omitempty"` // by one measure, and not worse by the other
	Worse        bool    `json:"worse,omitempty"`  // less accurate, or a higher loss that no accuracy makes up for
}

// difference is one measure of a seed: how much better it is with it, and how
// much of that may be chance.
type difference struct {
	known  bool
	gain   float64
	noise  float64 // standard error of gain
	noised bool    // noise was reported
}

// beyond says whether a gain, or a loss, of that size is one and no chance.
func (d difference) beyond(least float64) bool {
	return d.known && d.gain >= least && d.gain > d.noise
}

func (d difference) below(least float64) bool {
	return d.known && d.gain <= -least && -d.gain > d.noise
}

func evidenceOf(state *leyline.SeedState, c *Config) evidence {
	fall := differenceOf(state, trainer.MetricLossAfter, trainer.MetricLossBefore, trainer.MetricLossError)
	accuracy := differenceOf(state, trainer.MetricAccuracyBefore, trainer.MetricAccuracyAfter, trainer.MetricAccuracyError)
	scale := max(math.Abs(float64(state.GetMetrics()[trainer.MetricLossBefore])), 1e-6)
	lessLoss, moreLoss := fall.beyond(c.MinLossGain*scale), fall.below(c.MinLossGain*scale)
	moreAccurate, lessAccurate := accuracy.beyond(c.MinAccuracyGain), accuracy.below(c.MinAccuracyGain)
	// Where the noise of the loss is known and that of the accuracy is not, an
	// accuracy alone proves nothing.
	proven := lessLoss || moreAccurate && (accuracy.noised || !fall.noised)
	worse := lessAccurate || moreLoss && !moreAccurate
	return evidence{
		Known:     fall.known || accuracy.known,
		LossDelta: float32(0 - fall.gain), AccuracyGain: float32(accuracy.gain), HasAccuracy: accuracy.known,
		Better: proven && !worse, Worse: worse,
	}
}

// compared says whether a trainer tells how the host does with the seed.
func compared(state *leyline.SeedState) bool {
	_, loss := state.GetMetrics()[trainer.MetricLossAfter]
	_, accuracy := state.GetMetrics()[trainer.MetricAccuracyAfter]
	return loss || accuracy
}

// differenceOf measures from one metric to another. An error that is no number
// leaves everything to chance.
func differenceOf(state *leyline.SeedState, from, to, noise string) difference {
	metrics := state.GetMetrics()
	start, hasStart := metrics[from]
	end, hasEnd := metrics[to]
	if !hasStart || !hasEnd || !finite(float64(end-start)) {
		return difference{}
	}
	d := difference{known: true, gain: float64(end) - float64(start)}
	var reported float32
	if reported, d.noised = metrics[noise]; d.noised {
		d.noise = math.Abs(float64(reported))
		if math.IsNaN(d.noise) {
			d.noise = math.Inf(1)
		}
	}
	return d
}
