package evidence

import (
	"encoding/json"
	"math"
	"slices"
)

// maxGains bounds the gains that are kept.
const maxGains = 16

// Progress is what the reports within one stage have shown so far.
type Progress struct {
	Residence int      `json:"r,omitempty"` // reports observed in the stage
	Last      *Figures `json:"l,omitempty"`

	FirstTrainLoss Figure `json:"ft,omitzero"`
	BestTrainLoss  Figure `json:"bt,omitzero"`
	BestLoss       Figure `json:"bl,omitzero"`
	SinceBest      int    `json:"sb,omitempty"` // reports since BestLoss was set

	// Gains that differ from each other, while the seed is to prove itself and no
	// error is told with them.
	LossGains     []Figure `json:"lg,omitempty"`
	AccuracyGains []Figure `json:"ag,omitempty"`
}

// NewProgress is the progress in a stage of which no report has come.
func NewProgress() Progress {
	return Progress{FirstTrainLoss: Unknown(), BestTrainLoss: Unknown(), BestLoss: Unknown()}
}

// UnmarshalJSON makes what is left out unmeasured.
func (p *Progress) UnmarshalJSON(text []byte) error {
	type plain Progress
	read := plain(NewProgress())
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*p = Progress(read)
	return nil
}

// Latest are the last report's figures, all unknown before the first.
func (p *Progress) Latest() *Figures {
	if p.Last == nil {
		return Read(nil)
	}
	return p.Last
}

// Note adds one report; gain is the relative gain that counts as a better loss.
func (p *Progress) Note(e *Figures, gain float64) {
	p.Residence++
	p.Last = e
	if e.TrainLoss.Finite() {
		if !p.FirstTrainLoss.Known() {
			p.FirstTrainLoss, p.BestTrainLoss = e.TrainLoss, e.TrainLoss
		}
		p.BestTrainLoss = min(p.BestTrainLoss, e.TrainLoss)
	}
	switch {
	case !e.LossAfter.Finite():
	case !p.BestLoss.Known() || float64(p.BestLoss-e.LossAfter) > math.Abs(float64(p.BestLoss))*gain:
		p.BestLoss, p.SinceBest = e.LossAfter, 0
	default:
		p.SinceBest++
	}
}

// NoteGains adds the report's gains to those that the noise is told from.
func (p *Progress) NoteGains(e *Figures) {
	p.LossGains = distinct(p.LossGains, e.LossBefore-e.LossAfter, e.LossesFinite() && !e.LossError.Finite())
	accuracy := e.AccuracyBefore.Finite() && e.AccuracyAfter.Finite() && !e.AccuracyError.Finite()
	p.AccuracyGains = distinct(p.AccuracyGains, e.AccuracyAfter-e.AccuracyBefore, accuracy)
}

// distinct adds a gain that is not among the others: the same Figure twice is
// no second observation.
func distinct(gains []Figure, gain Figure, counts bool) []Figure {
	if !counts || !gain.Finite() || slices.Contains(gains, gain) {
		return gains
	}
	gains = append(slices.Clone(gains), gain)
	return gains[max(0, len(gains)-maxGains):]
}

// Learns reports that the training loss has fallen.
func (p *Progress) Learns() bool { return p.BestTrainLoss < p.FirstTrainLoss }
