// Package evidence keeps what a trainer's reports show of a seed: the Figures of one
// report, each a Figure that may be unknown or broken, and the Progress that a stage
// has seen. Records store it, gates judge it; it decides nothing.
package evidence

import (
	"encoding/json"
	"math"

	"github.com/esper-lite/weatherlight/trainer"
)

// Figures are what one report showed of a seed.
type Figures struct {
	LossBefore     Figure `json:"lb,omitzero"`
	LossAfter      Figure `json:"la,omitzero"`
	AccuracyBefore Figure `json:"ab,omitzero"`
	AccuracyAfter  Figure `json:"aa,omitzero"`
	LossError      Figure `json:"le,omitzero"`
	AccuracyError  Figure `json:"ae,omitzero"`
	HeldOut        Figure `json:"n,omitzero"`
	GradientNorm   Figure `json:"g,omitzero"`
	HostGradient   Figure `json:"h,omitzero"`
	Cosine         Figure `json:"c,omitzero"`
	Shared         Figure `json:"s,omitzero"`
	TrainLoss      Figure `json:"t,omitzero"`
	Faults         Figure `json:"f,omitzero"`
	ForwardMS      Figure `json:"m,omitzero"`
	ForwardSpread  Figure `json:"v,omitzero"`
}

// Field is one figure by the name of its metric.
type Field struct {
	Name string
	At   *Figure
}

// Fields are all figures, to be read or set.
func (e *Figures) Fields() [15]Field {
	return [...]Field{
		{trainer.MetricLossBefore, &e.LossBefore}, {trainer.MetricLossAfter, &e.LossAfter},
		{trainer.MetricAccuracyBefore, &e.AccuracyBefore}, {trainer.MetricAccuracyAfter, &e.AccuracyAfter},
		{trainer.MetricLossError, &e.LossError}, {trainer.MetricAccuracyError, &e.AccuracyError},
		{trainer.MetricHeldOut, &e.HeldOut}, {trainer.MetricGradientNorm, &e.GradientNorm},
		{trainer.MetricHostGradientMax, &e.HostGradient}, {trainer.MetricGradientCosine, &e.Cosine},
		{trainer.MetricSharedParameter, &e.Shared}, {trainer.MetricTrainLoss, &e.TrainLoss},
		{trainer.MetricForwardFaults, &e.Faults}, {trainer.MetricForwardMS, &e.ForwardMS},
		{trainer.MetricForwardSpread, &e.ForwardSpread},
	}
}

// Read takes the figures out of a seed's metrics.
func Read(metrics map[string]float32) *Figures {
	e := new(Figures)
	for _, f := range e.Fields() {
		*f.At = ReadFigure(metrics, f.Name)
	}
	return e
}

// UnmarshalJSON makes what is left out unmeasured.
func (e *Figures) UnmarshalJSON(text []byte) error {
	type plain Figures
	read := plain(*Read(nil))
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*e = Figures(read)
	return nil
}

// LossesFinite reports that both held-out losses were measured, and are numbers.
func (e *Figures) LossesFinite() bool { return e.LossBefore.Finite() && e.LossAfter.Finite() }

// LossBroken reports that a held-out loss was measured and is no finite number.
func (e *Figures) LossBroken() bool { return e.LossBefore == Broken || e.LossAfter == Broken }

// BeatsHost reports that the seed, fully in, does better than the host alone.
func (e *Figures) BeatsHost() bool { return e.LossesFinite() && e.LossAfter < e.LossBefore }

// Violates reports that the seed touches what is not its own.
func (e *Figures) Violates(maxCosine float64) bool {
	cosine := maxCosine < 1 && e.Cosine.Known() && math.Abs(e.Cosine.Value()) > maxCosine
	return e.HostGradient.Known() && e.HostGradient != 0 || e.Shared.Known() && e.Shared != 0 || cosine
}
