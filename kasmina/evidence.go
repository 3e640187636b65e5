package kasmina

import "math"

// Names of the evidence of one epoch.
const (
	evidenceLossBefore      = "loss_before"
	evidenceLossAfter       = "loss_after"
	evidenceAccuracyBefore  = "accuracy_before"
	evidenceAccuracyAfter   = "accuracy_after"
	evidenceGradientNorm    = "gradient_norm"
	evidenceHostGradientMax = "host_gradient_max"
	evidenceTrainLoss       = "train_loss"
	evidenceForwardFaults   = "forward_faults"
)

// evidence is what one epoch showed of a seed. What was not measured is NaN,
// which passes no comparison; only the host's gradient defaults to 0, because a
// host without storage for one has nothing to measure.
type evidence struct {
	lossBefore, lossAfter         float64
	accuracyBefore, accuracyAfter float64
	gradientNorm                  float64
	hostGradientMax               float64
	trainLoss                     float64
	forwardFaults                 float64
}

func readEvidence(values map[string]float32) evidence {
	read := func(name string, absent float64) float64 {
		if value, ok := values[name]; ok {
			return float64(value)
		}
		return absent
	}
	return evidence{
		lossBefore:      read(evidenceLossBefore, math.NaN()),
		lossAfter:       read(evidenceLossAfter, math.NaN()),
		accuracyBefore:  read(evidenceAccuracyBefore, math.NaN()),
		accuracyAfter:   read(evidenceAccuracyAfter, math.NaN()),
		gradientNorm:    read(evidenceGradientNorm, math.NaN()),
		hostGradientMax: read(evidenceHostGradientMax, 0),
		trainLoss:       read(evidenceTrainLoss, math.NaN()),
		forwardFaults:   read(evidenceForwardFaults, 0),
	}
}

// leaks reports a gradient that reached the host. A NaN is one.
func (e evidence) leaks() bool { return e.hostGradientMax != 0 }

func (e evidence) lossesFinite() bool { return finite(e.lossBefore) && finite(e.lossAfter) }

// beatsHost reports that the seed, fully in, does better than the host alone.
func (e evidence) beatsHost() bool { return e.lossAfter < e.lossBefore }

// earns reports a gain that is worth keeping, in loss or in accuracy.
func (e evidence) earns(p Promotion) bool {
	if !e.lossesFinite() {
		return false
	}
	return e.lossAfter <= e.lossBefore*(1-p.MinGain) || e.accuracyAfter-e.accuracyBefore >= p.AccuracyGain
}

// regresses reports that the seed clearly harms the model.
func (e evidence) regresses(p Promotion) bool {
	return !e.earns(p) && !(e.lossAfter <= e.lossBefore*(1+p.MaxRegression))
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// progress is what the epochs within one stage have shown so far.
type progress struct {
	residence int // epochs observed in the stage
	last      evidence

	firstTrainLoss, bestTrainLoss float64
	bestLoss                      float64
	sinceBest                     int // epochs since bestLoss was set
}

// note adds one epoch; gain is the relative gain that counts as a better loss.
func (p *progress) note(e evidence, gain float64) {
	p.residence++
	p.last = e
	if p.residence == 1 {
		p.firstTrainLoss, p.bestTrainLoss, p.bestLoss = e.trainLoss, e.trainLoss, e.lossAfter
		return
	}
	if e.trainLoss < p.bestTrainLoss {
		p.bestTrainLoss = e.trainLoss
	}
	p.sinceBest++
	if e.lossAfter < p.bestLoss*(1-gain) {
		p.bestLoss, p.sinceBest = e.lossAfter, 0
	}
}

// learns reports that the training loss has fallen.
func (p *progress) learns() bool { return p.bestTrainLoss < p.firstTrainLoss }
