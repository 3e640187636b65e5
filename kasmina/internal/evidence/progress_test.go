package evidence

import "testing"

func TestLossBelowZeroLevelsOut(t *testing.T) {
	t.Parallel()
	p := NewProgress()
	for _, loss := range []Figure{-10, -10, -9.95, -9.9, -9.85} {
		e := Read(nil)
		e.LossAfter = loss
		p.Note(e, 0.01)
	}
	if p.SinceBest != 4 || p.BestLoss != -10 {
		t.Errorf("%d reports since the best, %v", p.SinceBest, p.BestLoss)
	}
}

func TestPlateauCountsReportsWithoutABetterLoss(t *testing.T) {
	t.Parallel()
	p := NewProgress()
	for _, loss := range []Figure{1, 0.8, 0.795, 0.799, 0.793} {
		e := Read(nil)
		e.LossAfter, e.TrainLoss = loss, loss
		p.Note(e, 0.01)
	}
	if p.Residence != 5 || p.SinceBest != 3 || p.BestLoss != 0.8 || !p.Learns() {
		t.Errorf("progress %+v", p)
	}
}
