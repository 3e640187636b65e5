package tamiyo

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestScenario103_WindowAfterASeedWasKept(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		window  uint32
		losses  []float32
		outcome leyline.FieldReportOutcome
		metrics map[string]float32 // nil: there is no second report
	}{
		"of one report":       {1, []float32{1, 1, 1}, 0, nil},
		"not over":            {2, []float32{0.75}, 0, nil},
		"the loss fell":       {2, []float32{0.75, 0.5}, succeeded, map[string]float32{"loss_delta_total": -0.5, "loss_delta_min": -0.25, "loss_delta_max": -0.25}},
		"it rose":             {2, []float32{0.875, 1.125}, regressed, map[string]float32{"loss_delta_total": 0.125, "loss_delta_min": -0.125, "loss_delta_max": 0.25}},
		"it stayed":           {2, []float32{1, 1}, neutral, map[string]float32{"loss_delta_total": 0, "loss_delta_min": 0, "loss_delta_max": 0}},
		"there was none":      {2, []float32{float32(math.NaN()), 0.75}, regressed, map[string]float32{"loss_delta_total": -0.25, "loss_delta_min": -0.25, "loss_delta_max": -0.25}},
		"it was endless":      {2, []float32{0.75, float32(math.Inf(1))}, regressed, map[string]float32{"loss_delta_total": -0.25, "loss_delta_min": -0.25, "loss_delta_max": -0.25}},
		"not of every report": {2, []float32{0, 0.75, 0, 0.5}, succeeded, map[string]float32{"loss_delta_total": -0.5, "loss_delta_min": -0.25, "loss_delta_max": -0.25}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{ObservationWindow: row.window, Patience: 100})
			r.report(1)
			r.next.Grafts = graftOf("seed", "BP002")
			kept := seedState("seed", stageFossilized)
			r.report(1, seedState("seed", stageProbationary))
			onlyReport(t, r.report(1, kept), succeeded, "fossilized")
			var second []*leyline.FieldReport
			for _, loss := range row.losses {
				r.epoch, r.next.Number, r.now = r.epoch+1, r.next.Number+1, r.now.Add(r.interval)
				state := r.last()
				state.Packet.ValidationLoss, state.Packet.SeedStates = loss, []*leyline.SeedState{kept}
				if loss == 0 {
					state.Packet.ValidationAccuracy = 0
				}
				second = append(second, r.decide(state).Reports...)
			}
			if row.metrics == nil {
				if len(second) > 0 {
					t.Errorf("reports %v", second)
				}
				return
			}
			if len(second) != 1 || second[0].GetOutcome() != row.outcome || second[0].GetSeedId() != "seed" ||
				second[0].GetObservationWindowEpochs() != row.window || second[0].GetBlueprintId() != "BP002" {
				t.Fatalf("reports %v", second)
			}
			if diff := cmp.Diff(row.metrics, second[0].GetMetrics()); diff != "" {
				t.Error(diff)
			}
			if len(r.record.Windows) > 0 {
				t.Errorf("windows %v", r.record.Windows)
			}
		})
	}
}

func TestWhatIsCriticalBetweenValidationsIsSeenByAWindow(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{ObservationWindow: 2, Patience: 100})
	r.report(1)
	r.next.Grafts = graftOf("seed", "BP002")
	kept := seedState("seed", stageFossilized)
	r.report(1, seedState("seed", stageProbationary))
	onlyReport(t, r.report(1, kept), succeeded, "fossilized")
	r.next.Grafts["other"] = trainer.Graft{Slot: "layer2", Blueprint: "BP003"}
	r.next.Blueprint = know(quarantined("BP003"))
	attributesOf(t, r.accuracyReport(0.5, kept, seedState("other", stageTraining)), "bp_quarantine")
	r.next.Blueprint = know(safe("BP003", 100))
	r.report(0.75, kept, seedState("other", stageTraining))
	report := onlyReport(t, r.report(0.5, kept, seedState("other", stageTraining)), regressed, "observed")
	if got := report.GetMetrics()["loss_delta_total"]; got != -0.5 {
		t.Errorf("the loss changed by %v", got)
	}
}

func TestWindowsOfARunAreBounded(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{ObservationWindow: 1000, Patience: 100})
	r.report(1)
	for i := range 40 {
		id := string(rune('a'+i/10)) + string(rune('0'+i%10))
		r.next.Grafts = graftOf(id, "BP002")
		r.report(1, seedState(id, stageProbationary))
		r.report(1, seedState(id, stageFossilized))
	}
	if len(r.record.Windows) != maxWindows || r.record.Windows[maxWindows-1].Seed != "d9" {
		t.Errorf("%d windows, the last %+v", len(r.record.Windows), r.record.Windows)
	}
}

func graftOf(seed, blueprint string) map[string]trainer.Graft {
	return map[string]trainer.Graft{seed: {Slot: "layer1", Blueprint: blueprint}}
}
