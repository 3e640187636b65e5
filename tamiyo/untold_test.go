package tamiyo

import (
	"errors"
	"slices"
	"strings"
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
	for name, silent := range map[string]func(string) (Candidate, bool, error){
		"the library fails": broken, "it knows nothing of it": know(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, id := growing(t, Config{})
			r.next.Blueprint = silent
			for range 5 {
				decision := r.report(1, measuredSeed(id, stageProbationary, 0.1))
				if len(decision.Commands) > 0 || !slices.Contains(events(decision), "blueprint_untold") {
					t.Fatalf("commands %v, events %v", operations(decision), events(decision))
				}
			}
			r.next.Blueprint = know(safe("BP002", 100))
			only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
			r, id = growing(t, Config{}) // what makes the model worse goes all the same
			r.next.Blueprint = silent
			r.report(1, measuredSeed(id, stageProbationary, -0.1))
			only(t, r.report(1, measuredSeed(id, stageProbationary, -0.1)), "SEED_OP_CULL")
		})
	}
}

// Nothing came of it so far, so that it is asked for as often as any other.
func TestASeedOfWhichNothingIsKnownIsGivenUp(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.stall()
	r.next.Blueprint = know()
	var given []string
	for range 40 {
		decision := r.report(1)
		if given = append(given, operations(decision)...); len(decision.Reports) > 0 {
			break
		}
	}
	if want := []string{"SEED_OP_GERMINATE", "SEED_OP_GERMINATE", "SEED_OP_CULL"}; !slices.Equal(given, want) {
		t.Errorf("commands %v, want %v", given, want)
	}
}

// The loss falls and rises in turn, so that a seed would be begun now and then, and all the
// while the device has no room for one.
func TestPressureThatHoldsIsNotCalm(t *testing.T) {
	t.Parallel()
	r, id := growing(t, Config{MaxGrowing: 2})
	r.next.Slots = map[string][]int{"layer1": {64, 7, 7}, "layer2": {64, 7, 7}}
	pressed := func(loss, free float32, seeds ...*leyline.SeedState) Decision {
		r.epoch, r.next.Number, r.now = r.epoch+1, r.next.Number+1, r.now.Add(r.interval)
		state := r.next
		state.Packet = packetOf(r.epoch, loss, seeds...)
		state.Packet.TrainingMetrics = map[string]float32{"gpu_util_percent": 99, "gpu_mem_free_gb": free}
		return r.decide(state)
	}
	only(t, pressed(1, 0.1, seedState(id, stageTraining)), "COMMAND_PAUSE")
	loss := float32(1)
	for i := range 10 {
		loss *= 0.9 // nothing would be begun
		if decision := pressed(loss, 0.1, pausedSeed(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("pressed report %d: %v", i+1, operations(decision))
		}
	}
	for i := range 2 {
		loss *= 0.9
		if decision := pressed(loss, 8, pausedSeed(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("calm report %d: %v", i+1, operations(decision))
		}
	}
	loss *= 0.9
	pressed(loss, 0.1, pausedSeed(id, stageTraining)) // which begins the count anew
	var last Decision
	for i := range 3 {
		if loss *= 0.9; i > 0 && len(last.Commands) > 0 {
			t.Fatalf("calm report %d: %v", i, operations(last))
		}
		last = pressed(loss, 8, pausedSeed(id, stageTraining))
	}
	if resume := only(t, last, "COMMAND_PAUSE"); resume.GetAnnotations()["resume"] != "true" {
		t.Errorf("resume %v", resume)
	}
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

// accuracyReport is of a trainer that measures no loss, or did not this time.
func (r *run) accuracyReport(accuracy float32, seeds ...*leyline.SeedState) Decision {
	r.t.Helper()
	r.epoch, r.next.Number, r.now = r.epoch+1, r.next.Number+1, r.now.Add(r.interval)
	state := r.next
	state.Packet = packetOf(r.epoch, 0, seeds...)
	state.Packet.ValidationAccuracy = accuracy
	return r.decide(state)
}

func TestALossThatNobodyToldIsNone(t *testing.T) {
	t.Parallel()
	t.Run("a trainer that tells its accuracy alone", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, Config{})
		for range 12 {
			decision := r.accuracyReport(0.5)
			if len(decision.Commands) > 0 || len(events(decision)) > 0 {
				t.Fatalf("commands %v, events %v", operations(decision), events(decision))
			}
			for _, point := range decision.Packets[0].GetMetrics() {
				if strings.HasPrefix(point.GetName(), "tamiyo.validation_loss") {
					t.Fatalf("told of %v", point)
				}
			}
		}
	})
	t.Run("the loss was 1, is not told once, and is 1", func(t *testing.T) {
		t.Parallel()
		r, id := growing(t, Config{})
		before := r.record.Loss
		for _, decision := range []Decision{r.accuracyReport(0.5, seedState(id, stageTraining)), r.report(1, seedState(id, stageTraining))} {
			if len(decision.Commands) > 0 || len(events(decision)) > 0 {
				t.Errorf("commands %v, events %v", operations(decision), events(decision))
			}
		}
		if after := r.record.Loss; after.Best != before.Best || after.Previous != before.Previous || after.Stalled != before.Stalled+1 {
			t.Errorf("the loss went from %+v to %+v", before, after)
		}
	})
	t.Run("it calms no run", func(t *testing.T) {
		t.Parallel()
		r, id := growing(t, Config{HoldDownEpochs: 1})
		only(t, r.report(1.5, seedState(id, stageTraining)), "COMMAND_PAUSE")
		if decision := r.accuracyReport(0.5, seedState(id, stageTraining)); len(decision.Commands) > 0 || !r.record.Conservative.active() {
			t.Errorf("commands %v, conservative %v", operations(decision), r.record.Conservative)
		}
	})
}
