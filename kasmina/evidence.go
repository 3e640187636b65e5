package kasmina

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"github.com/esper-lite/weatherlight/trainer"
)

// figure is a measured number. NaN means that it was not measured, broken that
// it was measured and is no finite number. It is stored by its absence or by
// the largest float32.
type figure float32

const broken figure = math.MaxFloat32

func unknown() figure { return figure(math.NaN()) }

// IsZero leaves unmeasured figures out of a record.
func (f figure) IsZero() bool { return math.IsNaN(float64(f)) }

func (f figure) known() bool { return !f.IsZero() }

func (f figure) finite() bool { return f > -broken && f < broken }

// value is the number for telemetry.
func (f figure) value() float64 {
	if f == broken {
		return math.Inf(1)
	}
	return float64(f)
}

func (f figure) String() string { return strconv.FormatFloat(f.value(), 'f', 4, 32) }

func readFigure(metrics map[string]float32, name string) figure {
	value, ok := metrics[name]
	switch {
	case !ok:
		return unknown()
	case math.IsNaN(float64(value)) || math.IsInf(float64(value), 0):
		return broken
	default:
		return figure(value)
	}
}

// evidence is what one report showed of a seed.
type evidence struct {
	LossBefore     figure `json:"lb,omitzero"`
	LossAfter      figure `json:"la,omitzero"`
	AccuracyBefore figure `json:"ab,omitzero"`
	AccuracyAfter  figure `json:"aa,omitzero"`
	LossError      figure `json:"le,omitzero"`
	AccuracyError  figure `json:"ae,omitzero"`
	HeldOut        figure `json:"n,omitzero"`
	GradientNorm   figure `json:"g,omitzero"`
	HostGradient   figure `json:"h,omitzero"`
	Cosine         figure `json:"c,omitzero"`
	Shared         figure `json:"s,omitzero"`
	TrainLoss      figure `json:"t,omitzero"`
	Faults         figure `json:"f,omitzero"`
	ForwardMS      figure `json:"m,omitzero"`
	ForwardSpread  figure `json:"v,omitzero"`
}

// field names one figure of the evidence by its metric.
type field struct {
	name string
	at   *figure
}

func (e *evidence) fields() [15]field {
	return [...]field{
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

func readEvidence(metrics map[string]float32) *evidence {
	e := new(evidence)
	for _, f := range e.fields() {
		*f.at = readFigure(metrics, f.name)
	}
	return e
}

// UnmarshalJSON makes what is left out unmeasured.
func (e *evidence) UnmarshalJSON(text []byte) error {
	type plain evidence
	read := plain(*readEvidence(nil))
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*e = evidence(read)
	return nil
}

// nothing is the evidence of a seed of which none has come.
func nothing() *evidence { return readEvidence(nil) }

func (e *evidence) lossesFinite() bool { return e.LossBefore.finite() && e.LossAfter.finite() }

func (e *evidence) lossBroken() bool { return e.LossBefore == broken || e.LossAfter == broken }

// beatsHost reports that the seed, fully in, does better than the host alone.
func (e *evidence) beatsHost() bool { return e.lossesFinite() && e.LossAfter < e.LossBefore }

// violates reports that the seed touches what is not its own.
func (e *evidence) violates(maxCosine float64) bool {
	cosine := maxCosine < 1 && e.Cosine.known() && math.Abs(e.Cosine.value()) > maxCosine
	return e.HostGradient.known() && e.HostGradient != 0 || e.Shared.known() && e.Shared != 0 || cosine
}

// progress is what the reports within one stage have shown so far.
type progress struct {
	Residence int       `json:"r,omitempty"` // reports observed in the stage
	Last      *evidence `json:"l,omitempty"`

	FirstTrainLoss figure `json:"ft,omitzero"`
	BestTrainLoss  figure `json:"bt,omitzero"`
	BestLoss       figure `json:"bl,omitzero"`
	SinceBest      int    `json:"sb,omitempty"` // reports since BestLoss was set

	// Gains that differ from each other, while the seed is to prove itself and no
	// error is told with them.
	LossGains     []figure `json:"lg,omitempty"`
	AccuracyGains []figure `json:"ag,omitempty"`
}

func newProgress() progress {
	return progress{FirstTrainLoss: unknown(), BestTrainLoss: unknown(), BestLoss: unknown()}
}

// UnmarshalJSON makes what is left out unmeasured.
func (p *progress) UnmarshalJSON(text []byte) error {
	type plain progress
	read := plain(newProgress())
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*p = progress(read)
	return nil
}

func (p *progress) last() *evidence {
	if p.Last == nil {
		return nothing()
	}
	return p.Last
}

// note adds one report; gain is the relative gain that counts as a better loss.
func (p *progress) note(e *evidence, gain float64) {
	p.Residence++
	p.Last = e
	if e.TrainLoss.finite() {
		if !p.FirstTrainLoss.known() {
			p.FirstTrainLoss, p.BestTrainLoss = e.TrainLoss, e.TrainLoss
		}
		p.BestTrainLoss = min(p.BestTrainLoss, e.TrainLoss)
	}
	switch {
	case !e.LossAfter.finite():
	case !p.BestLoss.known() || float64(p.BestLoss-e.LossAfter) > math.Abs(float64(p.BestLoss))*gain:
		p.BestLoss, p.SinceBest = e.LossAfter, 0
	default:
		p.SinceBest++
	}
}

// noteGains adds the report's gains to those that the noise is told from.
func (p *progress) noteGains(e *evidence) {
	p.LossGains = distinct(p.LossGains, e.LossBefore-e.LossAfter, e.lossesFinite() && !e.LossError.finite())
	accuracy := e.AccuracyBefore.finite() && e.AccuracyAfter.finite() && !e.AccuracyError.finite()
	p.AccuracyGains = distinct(p.AccuracyGains, e.AccuracyAfter-e.AccuracyBefore, accuracy)
}

// distinct adds a gain that is not among the others: the same figure twice is
// no second observation.
func distinct(gains []figure, gain figure, counts bool) []figure {
	if !counts || !gain.finite() || slices.Contains(gains, gain) {
		return gains
	}
	return appended(gains, gain, maxGains)
}

// learns reports that the training loss has fallen.
func (p *progress) learns() bool { return p.BestTrainLoss < p.FirstTrainLoss }
