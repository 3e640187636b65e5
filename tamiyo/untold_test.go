package tamiyo

import (
	"errors"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// broken is a library that answers at once, and tells nothing.
func broken(string) (Candidate, bool, error) {
	return Candidate{}, false, errors.New("the catalogue cannot be read")
}

func quarantined(id string) Candidate {
	return with(id, 100, func(c *Candidate) { c.QuarantineOnly = true })
}

func TestWhatTheLibraryDoesNotTellLiftsNoQuarantine(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]func(string) (Candidate, bool, error){
		"it fails": broken, "it knows nothing of it any more": know(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, id := growing(t, Config{})
			r.next.Blueprint = know(quarantined("BP002"))
			only(t, r.report(1, seedState(id, stageTraining)), "COMMAND_PAUSE")
			r.next.Blueprint = silent
			for range 6 {
				decision := r.report(1, seedState(id, stageTraining))
				if len(decision.Commands) > 0 || slices.Contains(events(decision), "conservative_exited") {
					t.Fatalf("commands %v, events %v", operations(decision), events(decision))
				}
			}
			r.next.Blueprint = know(safe("BP002", 100))
			for range 2 {
				r.report(1, seedState(id, stageTraining))
			}
			last := r.report(1, seedState(id, stageTraining))
			if !slices.Contains(events(last), "conservative_exited") {
				t.Errorf("events %v", events(last))
			}
			if resume := only(t, last, "COMMAND_PAUSE"); resume.GetAnnotations()["resume"] != "true" {
				t.Errorf("resume %v", resume)
			}
		})
	}
}

func TestWhatTheLibraryDoesNotTellIsToldOf(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	r.next.Blueprint = broken
	decision := r.report(1, seedState(id, stageTraining))
	got := attributesOf(t, decision, "blueprint_untold")
	if got["blueprint_id"] != "BP002" || got["why"] != "the catalogue cannot be read" || got["effect"] != "freeze" {
		t.Errorf("told as %v", got)
	}
	if health := decision.Packets[0].GetSystemHealth(); health.GetStatus() != healthDegraded {
		t.Errorf("health %v", health)
	}
	if len(decision.Commands) > 0 { // it was in the output before, and stays
		t.Errorf("commands %v", decision.Commands)
	}
	if r.record.Library != (breaker{}) { // it is not late
		t.Errorf("breaker %+v", r.record.Library)
	}
}

func TestASeedIsKeptOnlyWhenItsBlueprintIsKnown(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{})
	r.next.Blueprint = broken
	for range 5 {
		if decision := r.report(1, measuredSeed(id, stageProbationary, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
	}
	r.next.Blueprint = know(safe("BP002", 100))
	only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	r.next.Blueprint = broken // what makes the model worse goes all the same
	r, id = growing(t, Config{})
	r.next.Blueprint = broken
	r.report(1, measuredSeed(id, stageProbationary, -0.1))
	only(t, r.report(1, measuredSeed(id, stageProbationary, -0.1)), "SEED_OP_CULL")
}

func TestAnAwaitedSeedHidesNoLivingOneOfItsBlueprint(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxGrowing: 2})
	r.next.Slots = map[string][]int{"layer1": {8}, "layer2": {8}}
	r.stall()
	var ids []string // of one blueprint, at two slots
	for _, command := range r.decisions[len(r.decisions)-1].Commands {
		ids = append(ids, command.GetTargetSeedId())
	}
	slices.Sort(ids)
	if len(ids) != 2 {
		t.Fatalf("seeds %v", ids)
	}
	r.next.Blueprint = know(quarantined("BP002"))
	decision := r.report(1, seedState(ids[1], stageTraining))
	if pause := only(t, decision, "COMMAND_PAUSE"); pause.GetTargetSeedId() != ids[1] {
		t.Errorf("pause %v", pause)
	}
	if highestLevel(decision.Packets[0].GetEvents()) != leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL {
		t.Errorf("events %v", events(decision))
	}
}
