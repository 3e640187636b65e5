package tamiyo

import (
	"math"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Columns of a policy's answer. docs/controller.md has them, and those of the features.
const (
	answerWorth  = iota // above 0: begin a seed of it; the highest is begun
	answerRisk          // 0..1
	answerConvex        // of the two blends the higher one is asked for
	answerResidual
	answerCull // of a living seed; of this and the next two the highest that is above 0 is asked for
	answerPause
	answerKeep
	// AnswerColumns is how many of an answer count.
	AnswerColumns
)

// Columns of a row.
const (
	FeatureColumns = 36
	FeatureWorth   = 23 // by the controller's own formula
	FeatureLiving  = 26 // 1 in the row of a living seed
)

// features are what a policy is told of a blueprint that is considered for a slot, or of a seed
// that lives at one. Numbers lie between -8 and 8; what is not known is 0.
type features []float32

func (f features) set(column int, value float64) {
	if finite(value) {
		f[column] = float32(min(max(value, -8), 8))
	}
}

// ofCandidate are those of a blueprint that is considered for a slot.
func (e planner) ofCandidate(c considered) features {
	row := e.ofSlot(c.slot)
	row.blueprint(&c.candidate, e.state.Slots[c.slot])
	row.set(13, c.cost)
	row.set(22, float64(c.setbacks))
	row.set(FeatureWorth, c.worth)
	return row
}

// ofSlot are those of the run and of a slot of it.
func (e planner) ofSlot(name string) features {
	row := make(features, FeatureColumns)
	shape := e.state.Slots[name]
	row.set(0, 1)
	row.set(1, float64(e.record.Loss.Stalled)/float64(e.config.Patience))
	if e.loss.delta.Known {
		row.set(2, 1)
		row.set(3, e.loss.delta.Value)
	}
	row.set(4, math.Log10(1+float64(e.record.Epoch)))
	row.set(5, float64(e.record.growing())/float64(e.config.MaxGrowing))
	if kind := len(shape); kind >= 1 && kind <= 3 {
		row.set(5+kind, 1) // 6: features, 7: sequence, 8: image
	}
	row.set(9, math.Log10(slotWidth(shape)))
	row.set(24, math.Log10(1+float64(e.record.tried(name))))
	row.set(25, math.Log10(positions(shape)))
	return row
}

func (f features) blueprint(c *Candidate, shape []int) {
	f.set(10, math.Log10(1+float64(max(c.ParameterCount, 0))))
	f.set(11, math.Log10(1+float64(max(c.MultiplyAdds, 0))))
	f.set(12, capacity(float64(c.ParameterCount), shape))
	f.set(14, c.facts(true).EffectiveRisk())
	f.set(15, float64(c.Stage))
	if c.Misfit {
		f.set(16, 1)
	}
	if c.BSDS != nil {
		f.set(17, 1)
		f.set(18, float64(c.BSDS.GetHazardBand()))
	}
	f.set(19, math.Log10(1+float64(max(c.Earned.Tried, 0))))
	f.set(20, float64(max(c.Earned.Kept, 0))/float64(max(c.Earned.Tried, c.Earned.Kept, 1)))
	f.set(21, positive(c.Earned.Gain))
}

// ofSeed are those of a living seed. What is told of it is nil where its trainer tells nothing.
func (e planner) ofSeed(s seed, told *leyline.SeedState) features {
	row := e.ofSlot(s.Slot)
	if blueprint, known := e.plan.known[s.Blueprint]; known {
		row.blueprint(blueprint, e.state.Slots[s.Slot])
	}
	row.set(22, float64(e.record.Slots[s.Slot].Setbacks[s.Blueprint]))
	row.set(FeatureLiving, 1)
	row.set(27, float64(s.Stage))
	row.set(28, float64(s.Age)/float64(e.config.MaxAgeEpochs))
	if s.Evidence.Known {
		row.set(29, 1)
		row.set(30, -float64(s.Evidence.LossDelta)/max(math.Abs(float64(e.record.Loss.Previous)), 1e-6))
		row.set(31, float64(s.Evidence.AccuracyGain))
	}
	row.set(32, float64(s.Improving)/float64(e.config.ProbationEpochs)-float64(s.Regressing)/regressionEpochs)
	if s.Paused {
		row.set(33, 1)
	}
	if e.record.HostWork > 0 {
		row.set(34, float64(s.Work)/e.record.HostWork)
	}
	row.set(35, float64(told.GetMetrics()[trainer.MetricAlpha]))
	return row
}
