package tamiyo

import (
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/trainer"
)

func TestGerminationWithoutEffectIsRepeatedThenGivenUp(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	command := r.stall()
	issued := map[string]string{command.GetCommandId(): operationName(command)}
	var given []string
	var end Decision
	for len(end.Reports) == 0 && r.epoch < 40 {
		end = r.report(1)
		given = append(given, operations(end)...)
		for _, again := range end.Commands {
			if again.GetTargetSeedId() != command.GetTargetSeedId() || issued[again.GetCommandId()] != "" {
				t.Fatalf("command %v", again)
			}
			issued[again.GetCommandId()] = operationName(again)
		}
	}
	if want := []string{"SEED_OP_GERMINATE", "SEED_OP_GERMINATE", "SEED_OP_CULL"}; !slices.Equal(given, want) {
		t.Fatalf("commands %v, want %v", given, want)
	}
	onlyReport(t, end, aborted, causeNoEffect)
	if got := r.stall().GetSeedOperation().GetBlueprintId(); got != "BP003" {
		t.Errorf("next blueprint %s, want BP003", got)
	}
	for ended := false; !ended && r.epoch < 100; {
		ended = len(r.report(1).Reports) > 0
	}
	if got := r.stall().GetSeedOperation().GetBlueprintId(); got != "BP002" {
		t.Errorf("then blueprint %s, want BP002: nothing speaks against it", got)
	}
}

func TestCommandsAreGivenTimeHoweverFastTheReports(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{EffectTime: 10 * time.Second})
	r.interval = time.Millisecond
	command := r.stall()
	for range 1000 {
		if decision := r.report(1); len(decision.Commands)+len(decision.Reports) > 0 {
			t.Fatalf("after %d reports: %v", r.epoch, operations(decision))
		}
	}
	r.interval = 10 * time.Second
	if again := only(t, r.report(1), "SEED_OP_GERMINATE"); again.GetTargetSeedId() != command.GetTargetSeedId() {
		t.Errorf("command %v", again)
	}
}

func TestFailedAttaches(t *testing.T) {
	t.Parallel()
	const patience = 4 // the seed's end is a new beginning for the host
	tests := map[trainer.AttachFailure]bool{
		trainer.AttachUnspecified: false, trainer.AttachUnreachable: false, trainer.AttachMismatch: false,
		trainer.AttachUnsigned: false, trainer.AttachBlend: false, trainer.AttachNoRoom: false, 99: false, -1: false,
		trainer.AttachInvalid: true, trainer.AttachMisfit: true, trainer.AttachFaulty: true,
	}
	for reason, ofKernel := range tests {
		t.Run(reason.Reason(), func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			r.candidates = offer(safe("BP002", 100))
			id := r.stall().GetTargetSeedId()
			if ofKernel {
				onlyReport(t, r.report(1, failedSeed(id, reason)), aborted, reason.Reason())
				for range 3 * patience {
					if decision := r.report(1, failedSeed(id, reason)); len(decision.Commands)+len(decision.Reports) > 0 {
						t.Fatalf("%v %v: its only blueprint is at fault", operations(decision), decision.Reports)
					}
				}
				return
			}
			var end Decision
			for len(end.Reports) == 0 && r.epoch < 40 {
				end = r.report(1, failedSeed(id, reason))
			}
			onlyReport(t, end, aborted, reason.Reason())
			if again := r.stall(); again.GetSeedOperation().GetBlueprintId() != "BP002" || again.GetTargetSeedId() == id {
				t.Errorf("command %v, want BP002 again", again)
			}
		})
	}
}

func TestGerminationWaitsForTheEmbargoOfItsSeed(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{Embargo: time.Minute})
	first := r.stall()
	id := first.GetTargetSeedId()
	r.report(1)
	decision := r.report(1, failedSeed(id, trainer.AttachUnreachable))
	failed := r.now
	for len(decision.Commands) == 0 && r.now.Sub(failed) < time.Hour {
		decision = r.report(1)
	}
	again := only(t, decision, "SEED_OP_GERMINATE")
	if waited := r.now.Sub(failed); again.GetTargetSeedId() != id || waited < time.Minute || waited > 2*time.Minute {
		t.Errorf("%s was germinated again after %s", again.GetTargetSeedId(), waited)
	}
}

func TestAttachThatFailsAtFirstIsForgotten(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.report(1, failedSeed(id, trainer.AttachUnreachable))
	r.report(1, seedState(id, stageTraining))
	r.report(1, seedState(id, stageBlending))
	onlyReport(t, r.report(1, seedState(id, stageCulled)), neutral, "removed_by_host")
	if got := r.record.Slots["layer1"].WrittenOff; !slices.Equal(got, []string{"BP002"}) {
		t.Errorf("written off %v", got)
	}
}
