package tamiyo

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

func graftsOf(id, slot, blueprintID string) map[string]trainer.Graft {
	return map[string]trainer.Graft{id: {Slot: slot, Blueprint: blueprintID}}
}

func TestSeedThatEarnedItIsFossilized(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	germinate := r.stall()
	id := germinate.GetTargetSeedId()
	for _, at := range []stage{stageGerminated, stageTraining, stageBlending, stageShadowing, stageShadowing} {
		if decision := r.report(1, measuredSeed(id, at, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("stage %d: %v", at, operations(decision))
		}
	}
	r.report(1, measuredSeed(id, stageProbationary, 0.1))
	command := only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if command.GetTargetSeedId() != id || command.GetSeedOperation().GetBlueprintId() != "BP002" ||
		command.GetAnnotations()["slot"] != "layer1" || command.GetAnnotations()["mesh_host_layers"] != `["fc1","fc2"]` {
		t.Errorf("command %v", command)
	}
	for range 2 { // one outstanding command per seed
		if decision := r.report(1, measuredSeed(id, stageProbationary, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("asked again: %v", operations(decision))
		}
	}
	again := only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if again.GetCommandId() == command.GetCommandId() {
		t.Error("asked again under the id that is used up")
	}
	report := onlyReport(t, r.report(0.9, measuredSeed(id, stageFossilized, 0.1)), succeeded, "fossilized")
	if report.GetCommandId() != germinate.GetCommandId() || report.GetBlueprintId() != "BP002" ||
		report.GetObservationWindowEpochs() != r.epoch-5 || report.GetTamiyoPolicyVersion() != DefaultPolicyVersion {
		t.Errorf("report %v", report)
	}
	if got := report.GetMetrics(); got["loss_delta"] > -0.09 || got["accuracy_delta"] < 0.09 {
		t.Errorf("metrics %v", got)
	}
	if decision := r.report(0.9, measuredSeed(id, stageFossilized, 0.1)); len(decision.Reports) > 0 {
		t.Error("reported twice")
	}
}

func TestVerdictsGoByWhatIsBeyondChance(t *testing.T) {
	t.Parallel()
	metrics := func(pairs ...any) map[string]float32 {
		m := map[string]float32{}
		for i := 0; i < len(pairs); i += 2 {
			value, _ := pairs[i+1].(float64)
			name, _ := pairs[i].(string)
			m[name] = float32(value)
		}
		return m
	}
	tests := map[string]struct {
		metrics map[string]float32
		want    string
	}{
		"nothing measured":             {nil, ""},
		"a lower loss":                 {metrics("loss_before", 1.0, "loss_after", 0.9), "SEED_OP_FOSSILIZE"},
		"a loss too little lower":      {metrics("loss_before", 1.0, "loss_after", 0.995), ""},
		"a gain above its error":       {metrics("loss_before", 1.0, "loss_after", 0.9, "loss_error", 0.05), "SEED_OP_FOSSILIZE"},
		"a gain below its error":       {metrics("loss_before", 1.0, "loss_after", 0.9, "loss_error", 0.2), ""},
		"a gain of its error":          {metrics("loss_before", 1.0, "loss_after", 0.5, "loss_error", 0.5), ""},
		"an error that is no number":   {metrics("loss_before", 1.0, "loss_after", 0.5, "loss_error", math.NaN()), ""},
		"a loss that is no number":     {metrics("loss_before", math.NaN(), "loss_after", 0.5), ""},
		"a higher accuracy":            {metrics("accuracy_before", 0.8, "accuracy_after", 0.9), "SEED_OP_FOSSILIZE"},
		"an accuracy above its error":  {metrics("accuracy_before", 0.8, "accuracy_after", 0.9, "accuracy_error", 0.02), "SEED_OP_FOSSILIZE"},
		"an accuracy below its error":  {metrics("accuracy_before", 0.8, "accuracy_after", 0.9, "accuracy_error", 0.2), ""},
		"an accuracy of unknown error": {metrics("accuracy_before", 0.8, "accuracy_after", 0.9, "loss_before", 1.0, "loss_after", 0.9, "loss_error", 0.2), ""},
		"accuracy against the loss":    {metrics("accuracy_before", 0.8, "accuracy_after", 0.9, "loss_before", 1.0, "loss_after", 1.2), "SEED_OP_FOSSILIZE"},
		"loss against the accuracy":    {metrics("accuracy_before", 0.8, "accuracy_after", 0.7, "loss_before", 1.0, "loss_after", 0.8), "SEED_OP_CULL"},
		"a higher loss":                {metrics("loss_before", 1.0, "loss_after", 1.1), "SEED_OP_CULL"},
		"a higher loss below its error": {
			metrics("loss_before", 1.0, "loss_after", 1.1, "loss_error", 0.3), "",
		},
		"a lower accuracy below its error": {metrics("accuracy_before", 0.8, "accuracy_after", 0.7, "accuracy_error", 0.2), ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			id := r.stall().GetTargetSeedId()
			seed := seedState(id, stageProbationary)
			seed.Metrics = test.metrics
			if decision := r.report(1, seed); len(decision.Commands) > 0 {
				t.Fatalf("after one report: %v", operations(decision))
			}
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			if got := operations(r.report(1, seed)); !slices.Equal(got, want) {
				t.Errorf("commands %v, want %v", got, want)
			}
		})
	}
}

func TestGainMustLast(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{ProbationEpochs: 3})
	id := r.stall().GetTargetSeedId()
	for _, gain := range []float32{0.1, 0.1, 0, 0.1, 0.1} {
		if decision := r.report(1, measuredSeed(id, stageProbationary, gain)); len(decision.Commands) > 0 {
			t.Fatalf("%v", operations(decision))
		}
	}
	r.report(1, seedState(id, stageProbationary)) // not measured
	only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
}

func TestRegressingSeedIsCulledAndItsBlueprintNotTriedAgain(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"embargoed", "not listed"} {
		t.Run(after, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			id := r.stall().GetTargetSeedId()
			r.report(1, measuredSeed(id, stageShadowing, -0.1))
			only(t, r.report(1, measuredSeed(id, stageProbationary, -0.1)), "SEED_OP_CULL")
			var decision Decision
			if after == "embargoed" {
				decision = r.report(1, seedState(id, stageEmbargoed))
			} else {
				decision = r.report(1)
			}
			onlyReport(t, decision, regressed, causeRegression)
			if got := r.stall().GetSeedOperation().GetBlueprintId(); got != "BP003" {
				t.Errorf("next blueprint %s, want BP003", got)
			}
		})
	}
}

func TestStuckSeedIsCulled(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{MaxAgeEpochs: 10})
	id := r.stall().GetTargetSeedId()
	for range 9 {
		if decision := r.report(1, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", r.epoch, operations(decision))
		}
	}
	only(t, r.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
	onlyReport(t, r.report(1), neutral, causeAge)
}

func TestOnlyWhatWasJudgedIsHeldAgainstABlueprint(t *testing.T) {
	t.Parallel()
	measured := func(id string, at stage) *leyline.SeedState { return measuredSeed(id, at, 0) }
	noNumber := func(id string, at stage) *leyline.SeedState { return measuredSeed(id, at, float32(math.NaN())) }
	tests := map[string]struct {
		first  func(id string, at stage) *leyline.SeedState
		at     stage
		after  stage // UNKNOWN: not listed
		blamed bool
		oldest uint32
	}{
		"taken along before anything was measured": {seedState, stageBlending, stageUnknown, false, 0},
		"dropped while it was new":                 {seedState, stageGerminated, stageUnknown, false, 0},
		"dormant again":                            {seedState, stageTraining, stageDormant, false, 0},
		"terminated":                               {seedState, stageTraining, stageTerminated, false, 0},
		"culled by a gate":                         {seedState, stageTraining, stageCulled, true, 0},
		"embargoed after a gate":                   {seedState, stageTraining, stageEmbargoed, true, 0},
		"gone after it was measured":               {measured, stageTraining, stageUnknown, true, 0},
		"gone after no number was measured":        {noNumber, stageTraining, stageUnknown, true, 0},
		"stuck, and culled by us":                  {seedState, stageTraining, stageUnknown, true, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{MaxAgeEpochs: test.oldest})
			id := r.stall().GetTargetSeedId()
			r.report(1, test.first(id, test.at))
			r.report(1, seedState(id, test.at)) // what was measured once stays measured
			var after []*leyline.SeedState
			if test.after != stageUnknown {
				after = append(after, seedState(id, test.after))
			}
			for range vanishedAfter {
				r.report(1, after...)
			}
			slot := r.record.Slots["layer1"]
			if slices.Contains(slot.WrittenOff, "BP002") != test.blamed || (slot.Setbacks["BP002"] == 1) == test.blamed {
				t.Errorf("slot %+v, blamed %t", slot, test.blamed)
			}
		})
	}
}

// A trainer that measures nothing never shows why its seeds end.
func TestBlueprintsThatAreNeverMeasuredAreNotTriedForEver(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	tried := make(map[string]int)
	for range 30 {
		var germination *leyline.AdaptationCommand
		for i := 0; i < 60 && germination == nil; i++ {
			for _, command := range r.report(1).Commands {
				if command.GetSeedOperation().GetBlueprintId() != "" {
					germination = command
				}
			}
		}
		if germination == nil {
			break
		}
		tried[germination.GetSeedOperation().GetBlueprintId()]++
		for range 3 {
			r.report(1, seedState(germination.GetTargetSeedId(), stageTraining))
		}
		for range vanishedAfter {
			r.report(1)
		}
	}
	for blueprint, times := range tried {
		if times != chances || !slices.Contains(r.record.Slots["layer1"].WrittenOff, blueprint) {
			t.Errorf("%s was tried %d times, slot %+v", blueprint, times, r.record.Slots["layer1"])
		}
	}
	if len(tried) < 2 || !r.record.Starved {
		t.Errorf("tried %v, starved: %v", tried, r.record.Starved)
	}
}

func TestSeedListedTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	gone, back := seedState(id, stageCulled), seedState(id, stageTraining)
	onlyReport(t, r.report(1, gone, back, failedSeed(id, trainer.AttachFaulty)), aborted, "removed_by_host")
}

func TestSeedRefusedAtTheGateIsReportedAborted(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	onlyReport(t, r.report(1, seedState(id, stageCulled)), aborted, "removed_by_host")
}

func TestDormantSlotIsNotTheSeedAskedFor(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	for range 2 {
		decision := r.report(1, seedState(id, stageDormant))
		if len(decision.Commands)+len(decision.Reports) > 0 {
			t.Fatalf("decided %v %v", operations(decision), decision.Reports)
		}
	}
	only(t, r.report(1, seedState(id, stageDormant)), "SEED_OP_GERMINATE")
}

func TestSeedThatVanishesIsReported(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageTraining))
	if decision := r.report(1); len(decision.Reports) > 0 {
		t.Fatal("one report without it is not its end")
	}
	onlyReport(t, r.report(1), neutral, "removed_by_host")
}

func TestTwoSeedsEndingReportUnderDifferentIDs(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	ids := map[string]bool{}
	for range 3 { // somebody else's seed, its name used again and again
		r.report(1, seedState("slot-1", stageTraining))
		for _, report := range r.report(1, seedState("slot-1", stageCulled)).Reports {
			ids[report.GetReportId()] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d report ids for 3 seeds", len(ids))
	}
}

func TestSeedOfUnknownBlueprintIsNotSentCommandsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	for range 10 {
		decision := r.report(1, measuredSeed("foreign", stageProbationary, -0.5))
		if len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
	}
}

func TestSeedsOfARunAreBounded(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{5, 0, 1000} {
		r := newRun(t, Config{MaxSeeds: limit})
		var seeds []*leyline.SeedState
		for i := range 200 {
			seeds = append(seeds, seedState(fmt.Sprint("foreign-", i), stageTraining))
		}
		r.report(1, seeds...)
		want := 64
		if limit == 5 {
			want = 5
		}
		if got := len(r.record.Seeds); got != want {
			t.Errorf("%d seeds known, want %d", got, want)
		}
	}
}
