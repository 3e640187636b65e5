package tamiyo

import (
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestSeedThatEarnedItIsFossilized(t *testing.T) {
	tr := newTrainer(t, Config{})
	germinate := tr.stall()
	id := germinate.GetTargetSeedId()
	for _, stage := range []leyline.SeedLifecycleStage{stageGerminated, stageTraining, stageBlending, stageShadowing} {
		if decision := tr.report(1, measuredSeed(id, stage, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("%s: %v", stage, operations(decision))
		}
	}
	tr.report(1, measuredSeed(id, stageProbationary, 0.1))
	command := only(t, tr.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if command.GetTargetSeedId() != id || command.GetSeedOperation().GetBlueprintId() != "BP002" {
		t.Errorf("command %v", command)
	}
	for range 2 { // one outstanding command per seed
		if decision := tr.report(1, measuredSeed(id, stageProbationary, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("asked again: %v", operations(decision))
		}
	}
	again := only(t, tr.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if again.GetCommandId() == command.GetCommandId() {
		t.Error("asked again under the id that the host has used up")
	}
	decision := tr.report(0.9, measuredSeed(id, stageFossilized, 0.1))
	if len(decision.Reports) != 1 {
		t.Fatalf("%d reports", len(decision.Reports))
	}
	report := decision.Reports[0]
	if report.GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS ||
		report.GetCommandId() != germinate.GetCommandId() || report.GetBlueprintId() != "BP002" ||
		report.GetObservationWindowEpochs() != tr.epoch-5 || report.GetTamiyoPolicyVersion() != DefaultPolicyVersion {
		t.Errorf("report %v", report)
	}
	if got := report.GetMetrics(); got["loss_delta"] > -0.09 || got["accuracy_delta"] < 0.09 {
		t.Errorf("metrics %v", got)
	}
	if decision := tr.report(0.9, measuredSeed(id, stageFossilized, 0.1)); len(decision.Reports) > 0 {
		t.Error("reported twice")
	}
}

func TestRegressingSeedIsCulledAndItsBlueprintNotTriedAgain(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	tr.report(1, measuredSeed(id, stageShadowing, -0.1))
	only(t, tr.report(1, measuredSeed(id, stageProbationary, -0.1)), "SEED_OP_CULL")
	decision := tr.report(1, seedState(id, stageEmbargoed))
	if len(decision.Reports) != 1 ||
		decision.Reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION {
		t.Fatalf("reports %v", decision.Reports)
	}
	if got := tr.stall().GetSeedOperation().GetBlueprintId(); got != "BP003" {
		t.Errorf("next blueprint %s, want BP003", got)
	}
}

func TestStuckSeedIsCulled(t *testing.T) {
	tr := newTrainer(t, Config{MaxAgeEpochs: 10})
	id := tr.stall().GetTargetSeedId()
	for range 9 {
		if decision := tr.report(1, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", tr.epoch, operations(decision))
		}
	}
	only(t, tr.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
	decision := tr.report(1) // gone at once
	if len(decision.Reports) != 1 || decision.Reports[0].GetNotes() != causeAge ||
		decision.Reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL {
		t.Fatalf("reports %v", decision.Reports)
	}
}

func TestGerminationWithoutEffectIsRepeatedThenGivenUp(t *testing.T) {
	tr := newTrainer(t, Config{})
	command := tr.stall()
	issued := map[string]uint32{command.GetCommandId(): tr.epoch}
	var reports []*leyline.FieldReport
	for len(reports) == 0 && tr.epoch < 40 {
		decision := tr.report(1)
		for _, again := range decision.Commands {
			if again.GetTargetSeedId() == command.GetTargetSeedId() {
				issued[again.GetCommandId()] = tr.epoch
			}
		}
		reports = decision.Reports
	}
	if len(issued) != 3 || len(reports) != 1 ||
		reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED {
		t.Fatalf("issued %v, reports %v", issued, reports)
	}
	if got := tr.stall().GetSeedOperation().GetBlueprintId(); got != "BP003" {
		t.Errorf("next blueprint %s, want BP003", got)
	}
}

func TestSeedRefusedAtTheGateIsReportedAborted(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	decision := tr.report(1, seedState(id, stageCulled))
	if len(decision.Reports) != 1 ||
		decision.Reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED {
		t.Fatalf("reports %v", decision.Reports)
	}
}

func TestDormantSlotIsNotTheSeedAskedFor(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	for range 2 {
		decision := tr.report(1, seedState(id, stageDormant))
		if len(decision.Commands)+len(decision.Reports) > 0 {
			t.Fatalf("decided %v %v", operations(decision), decision.Reports)
		}
	}
	only(t, tr.report(1, seedState(id, stageDormant)), "SEED_OP_GERMINATE")
}

func TestSeedThatVanishesIsReported(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	tr.report(1, seedState(id, stageTraining))
	if decision := tr.report(1); len(decision.Reports) > 0 {
		t.Fatal("one packet without it is not its end")
	}
	decision := tr.report(1)
	if len(decision.Reports) != 1 || decision.Reports[0].GetNotes() != "removed_by_host" {
		t.Fatalf("reports %v", decision.Reports)
	}
}

func TestTwoSeedsEndingReportUnderDifferentIDs(t *testing.T) {
	tr := newTrainer(t, Config{})
	ids := map[string]bool{}
	for range 3 { // somebody else's seed, its name used again and again
		tr.report(1, seedState("slot-1", stageTraining))
		for _, report := range tr.report(1, seedState("slot-1", stageCulled)).Reports {
			ids[report.GetReportId()] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d report ids for 3 seeds", len(ids))
	}
}

func TestSeedOfUnknownBlueprintIsNotSentCommandsItsHostRefuses(t *testing.T) {
	tr := newTrainer(t, Config{})
	for range 10 {
		decision := tr.report(1, measuredSeed("foreign", stageProbationary, -0.5))
		if len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
	}
}
