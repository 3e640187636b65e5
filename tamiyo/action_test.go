package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// acting is a policy that begins whatever it is asked about, and says this of living seeds.
func acting(cull, pause, keep float32) *judge {
	return &judge{version: "acts-1", answer: answering(1, 0, 1, 0, cull, pause, keep)}
}

// actedRun has a seed at a stage, which the policy is asked about from the next report on.
func actedRun(t *testing.T, policy *judge, at stage) (r *run, id string) {
	t.Helper()
	r = newRun(t, Config{Policies: decidedBy(policy, nil)})
	said := policy.answer
	policy.answer = answering(1, 0, 1, 0)
	id = r.stall().GetTargetSeedId()
	r.report(1, seedState(id, at))
	policy.answer = said
	return r, id
}

func TestAPolicyCullsASeed(t *testing.T) {
	t.Parallel()
	r, id := actedRun(t, acting(0.5, 0.25, 0), stageTraining)
	decision := r.report(1, seedState(id, stageTraining))
	told := only(t, decision, "SEED_OP_CULL").GetAnnotations()
	if told["risk_reason"] != causeAsked || told["policy_answer"] != "cull 0.500, pause 0.250, keep 0.000" || told["policy_version"] != "acts-1" {
		t.Errorf("annotations %v", told)
	}
	if why := attributesOf(t, decision, "decision_explained"); !strings.Contains(why["policy_asked"], "cull "+id+": cull 0.500") {
		t.Errorf("explained as %v", why)
	}
	report := onlyReport(t, r.report(1), leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL, causeAsked)
	if report.GetTamiyoPolicyVersion() != "acts-1" {
		t.Errorf("reported as %v", report)
	}
	if r.record.tried("layer1") != 0 || r.record.Slots["layer1"].Setbacks[report.GetBlueprintId()] != 1 || !Spares(report) {
		t.Errorf("a policy's opinion counts against a blueprint: %+v", r.record.Slots)
	}
}

// One whose figures are worse counts as any other, whoever had it culled.
func TestASeedThatAPolicyCulledForHarmCounts(t *testing.T) {
	t.Parallel()
	r, id := actedRun(t, acting(0.5, 0, 0), stageShadowing)
	only(t, r.report(1, measuredSeed(id, stageShadowing, -0.1)), "SEED_OP_CULL")
	report := onlyReport(t, r.report(1), leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION, causeAsked)
	if r.record.tried("layer1") != 1 || Spares(report) {
		t.Errorf("it does not count: %+v", r.record.Slots)
	}
}

func TestAPolicyPausesASeedForAsLongAsItSaysSo(t *testing.T) {
	t.Parallel()
	policy := acting(0, 0.5, 0)
	r, id := actedRun(t, policy, stageTraining)
	decision := r.report(1, seedState(id, stageTraining))
	told := only(t, decision, "COMMAND_PAUSE").GetAnnotations()
	if told["risk_reason"] != causeAsked || told["resume"] != "" || !strings.HasPrefix(told["policy_answer"], "cull 0.000, pause 0.500") {
		t.Errorf("annotations %v", told)
	}
	if r.record.Unrest.holds() || r.record.Conservative.active() {
		t.Errorf("the run is held back: %+v", r.record.restraint)
	}
	for range 5 {
		if decision := r.report(1, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("it is out, and %v", operations(decision))
		}
	}
	policy.answer = answering(1, 0, 1, 0, -1, -1, -1)
	if again := only(t, r.report(1, seedState(id, stageTraining)), "COMMAND_PAUSE"); again.GetAnnotations()["resume"] != "true" {
		t.Errorf("%v", again)
	}
}

// A slot is not held for ever by a seed that a policy keeps out of the output.
func TestAPauseOfAPolicyMakesASeedOlder(t *testing.T) {
	t.Parallel()
	r, id := actedRun(t, acting(0, 0.5, 0), stageTraining)
	for n := range 60 {
		decision := r.report(1, seedState(id, stageTraining))
		if slices.Contains(operations(decision), "SEED_OP_CULL") {
			if told := decision.Commands[0].GetAnnotations(); told["risk_reason"] != causeAge || n < 30 {
				t.Errorf("culled in report %d: %v", n, told)
			}
			return
		}
	}
	t.Error("it was never culled")
}

func TestAPolicyKeepsASeedThatHasEarnedIt(t *testing.T) {
	t.Parallel()
	r, id := actedRun(t, acting(0, 0, 0.5), stageShadowing)
	if decision := r.report(1, measuredSeed(id, stageShadowing, 0.1)); len(decision.Commands) > 0 {
		t.Errorf("in SHADOWING: %v", operations(decision))
	}
	decision := r.report(1, measuredSeed(id, stageProbationary, 0))
	if told := attributesOf(t, decision, "policy_restrained"); len(decision.Commands) > 0 || told["reason"] != "no_gain" || told["asked"] != "keep" {
		t.Errorf("without a gain: %v, told as %v", operations(decision), told)
	}
	// The rules alone would wait for a second report.
	told := only(t, r.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE").GetAnnotations()
	if told["risk_reason"] != causeAsked {
		t.Errorf("annotations %v", told)
	}
}

func TestTheRulesRestrainWhatAPolicyAsksOfSeeds(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		policy *judge
		prior  func(r *run, id string) // before the report
		state  func(id string) *leyline.SeedState
		loss   float32
		want   []string
		cause  string
	}{
		"a seed that makes it worse goes": {acting(0, 0.5, 0.75), func(r *run, id string) {
			r.report(1, measuredSeed(id, stageProbationary, -0.1))
		}, func(id string) *leyline.SeedState { return measuredSeed(id, stageProbationary, -0.1) }, 1, []string{"SEED_OP_CULL"}, causeRegression},
		"a jump of the loss pauses what it would keep": {acting(0, 0, 0.5), func(*run, string) {},
			func(id string) *leyline.SeedState { return measuredSeed(id, stageProbationary, 0.1) }, 1.5, []string{"COMMAND_PAUSE"}, "loss_spike"},
		"a jump of the loss pauses what it would cull": {acting(0.5, 0, 0), func(*run, string) {},
			func(id string) *leyline.SeedState { return seedState(id, stageTraining) }, 1.5, []string{"COMMAND_PAUSE"}, "loss_spike"},
		"of what nobody tells nothing is culled": {acting(0.5, 0, 0), func(r *run, _ string) { r.next.Blueprint = broken },
			func(id string) *leyline.SeedState { return seedState(id, stageTraining) }, 1, nil, ""},
		"nor paused": {acting(0, 0.5, 0), func(r *run, _ string) { r.next.Blueprint = broken },
			func(id string) *leyline.SeedState { return seedState(id, stageTraining) }, 1, nil, ""},
		"what an operator holds is hers": {acting(0.5, 0.75, 0.25), func(*run, string) {},
			func(id string) *leyline.SeedState { return pausedSeed(id, stageTraining) }, 1, nil, ""},
		"what Kasmina does not have": {acting(0.5, 0.25, 0), func(r *run, _ string) {
			r.next.Lives = func(string) bool { return false }
		}, func(id string) *leyline.SeedState { return seedState(id, stageTraining) }, 1, nil, ""},
		"a seed that waits for its kernel's place is not paused": {acting(0, 0.5, 0), func(*run, string) {},
			func(id string) *leyline.SeedState { return seedState(id, stageGerminated) }, 1, nil, ""},
		"a halted run": {acting(0.5, 0, 0), func(r *run, _ string) {
			r.hostWork = 0
		}, func(id string) *leyline.SeedState { return seedState(id, stageTraining) }, -1, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idle := answering(1, 0, 1, 0)
			said := row.policy.answer
			r, id := actedRun(t, row.policy, stageTraining)
			row.policy.answer = idle
			row.prior(r, id)
			row.policy.answer = said
			var decision Decision
			if row.loss < 0 {
				decision = r.metricsReport(map[string]float32{trainer.MetricHalted: 1}, row.state(id))
			} else {
				decision = r.report(row.loss, row.state(id))
			}
			if got := operations(decision); !slices.Equal(got, row.want) {
				t.Fatalf("commands %v, want %v", got, row.want)
			}
			if row.cause != "" && decision.Commands[0].GetAnnotations()["risk_reason"] != row.cause {
				t.Errorf("for %v", decision.Commands[0].GetAnnotations())
			}
		})
	}
}

func TestWhatAPolicyIsToldOfASeed(t *testing.T) {
	t.Parallel()
	policy := acting(0, 0, 0)
	r, id := actedRun(t, policy, stageTraining)
	r.hostWork = 1000
	r.next.Blueprint = know(safe("BP002", 100))
	r.report(1, measuredSeed(id, stageProbationary, 0.1))
	told := measuredSeed(id, stageProbationary, 0.1)
	told.Metrics[trainer.MetricAlpha] = 0.75
	r.report(1, told)
	if len(policy.rows) != 1 || len(policy.rows[0]) != FeatureColumns {
		t.Fatalf("asked for %v", policy.rows)
	}
	row := policy.rows[0]
	for column, want := range map[int]float32{
		0: 1, 8: 1, FeatureLiving: 1, 27: float32(stageProbationary), 28: 3.0 / 40, 29: 1, 30: 0.1, 31: 0.1, 32: 1, 33: 0, 35: 0.75,
	} {
		if got := row[column]; got < want-1e-3 || got > want+1e-3 {
			t.Errorf("column %d is %v, want %v", column, got, want)
		}
	}
	if row[10] == 0 || row[34] == 0 || row[25] == 0 || row[FeatureWorth] != 0 {
		t.Errorf("of its blueprint and slot %v", row)
	}
}

func TestAPolicyThatFailsOverSeedsLeavesThemToTheRules(t *testing.T) {
	t.Parallel()
	policy := acting(0.5, 0, 0)
	r, id := actedRun(t, policy, stageTraining)
	policy.err = errors.New("no room")
	decision := r.report(1, seedState(id, stageTraining))
	if attributesOf(t, decision, "policy_failed"); len(decision.Commands) > 0 {
		t.Errorf("commands %v", operations(decision))
	}
	policy.err = fmt.Errorf("evaluate: %w", context.DeadlineExceeded)
	decision = r.report(1, seedState(id, stageTraining))
	if attributesOf(t, decision, "timeout_inference"); !slices.Equal(operations(decision), []string{"COMMAND_PAUSE"}) {
		t.Errorf("commands %v", operations(decision))
	}
}

func TestWhatAPolicyInTheShadowAsksOfSeedsIsCompared(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		active, shadow *judge
		would, did     string
		counted        shadowed
	}{
		"it would cull":     {nil, acting(0.5, 0, 0), "cull", "leave", shadowed{Policy: "acts-1", Differed: 1}},
		"it would leave it": {acting(0, 0.5, 0), acting(0, 0, 0), "leave", "pause", shadowed{Policy: "acts-1", Differed: 1}},
		"both would pause":  {acting(0, 0.5, 0), acting(0, 0.25, 0), "pause", "pause", shadowed{Policy: "acts-1", Agreed: 1}},
		"neither asks":      {nil, acting(0, -1, 0), "", "", shadowed{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			id := r.stall().GetTargetSeedId()
			r.report(1, seedState(id, stageTraining))
			r.controller = NewController(Config{Policies: decidedBy(row.active, row.shadow)})
			decision := r.report(1, seedState(id, stageTraining))
			if r.record.Shadow != row.counted {
				t.Errorf("counted %+v", r.record.Shadow)
			}
			if row.would == "" {
				return
			}
			told := attributesOf(t, decision, "policy_shadow")
			if told["would"] != row.would+" "+id || told["would_have"] != row.did+" "+id {
				t.Errorf("told as %v", told)
			}
		})
	}
}

// Of several slots a policy takes that at which it sees most; the rules take them in turn.
func TestAPolicyChoosesTheSlot(t *testing.T) {
	t.Parallel()
	wide := func(row []float32) []float32 { return []float32{row[9], 0, 1, 0} } // by the width of the slot
	slots := map[string][]int{"a": {8}, "b": {512}, "c": {64}}
	for name, row := range map[string]struct {
		policy *judge
		want   []string
	}{
		"the rules":              {nil, []string{"a", "b"}},
		"a policy":               {&judge{version: "wide", answer: wide}, []string{"b", "c"}},
		"one that fails":         {&judge{version: "wide", answer: wide, err: errors.New("no room")}, []string{"a", "b"}},
		"one that waits at some": {&judge{version: "wide", answer: func(row []float32) []float32 { return []float32{row[9] - 2, 0} }}, []string{"b"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{MaxGrowing: 2, Policies: decidedBy(row.policy, nil)})
			r.next.Slots = slots
			r.stall()
			var got []string
			for _, command := range r.decisions[len(r.decisions)-1].Commands {
				got = append(got, command.GetAnnotations()["slot"])
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("begun at %v, want %v", got, row.want)
			}
		})
	}
}

// A seed is not culled for want of a stage in which it could be paused or kept.
func TestASeedThatAPolicyWouldRatherPauseOrKeepIsNotCulled(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		policy *judge
		at     stage
	}{
		"paused, and it waits for its kernel's place": {acting(0.1, 0.9, 0), stageGerminated},
		"kept, and it is in TRAINING":                 {acting(0.1, 0, 0.9), stageTraining},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, id := actedRun(t, row.policy, row.at)
			if decision := r.report(1, seedState(id, row.at)); len(decision.Commands) > 0 {
				t.Errorf("commands %v", operations(decision))
			}
		})
	}
}

// A halted run asks no policy: that it says nothing brings no seed back.
func TestWhatAPolicyKeepsOutStaysOutWhileTheRunIsHalted(t *testing.T) {
	t.Parallel()
	policy := acting(0, 0.5, 0)
	r, id := actedRun(t, policy, stageProbationary)
	r.report(1, measuredSeed(id, stageProbationary, 0.1))
	r.report(1, measuredSeed(id, stageProbationary, 0.1)) // the rules would keep it now
	for range 3 {
		decision := r.metricsReport(map[string]float32{trainer.MetricHalted: 1}, seedState(id, stageProbationary))
		if len(decision.Commands) > 0 {
			t.Fatalf("in a run that is halted %v, %v", operations(decision), decision.Commands[0].GetAnnotations())
		}
	}
	if decision := r.report(1, seedState(id, stageProbationary)); len(decision.Commands) > 0 {
		t.Errorf("the policy keeps it out, and %v", operations(decision))
	}
	policy.answer = answering(1, 0, 1, 0)
	if again := only(t, r.report(1, seedState(id, stageProbationary)), "COMMAND_PAUSE"); again.GetAnnotations()["resume"] != "true" {
		t.Errorf("%v", again)
	}
}

// What the library took of the step is not counted against a policy.
func TestAPolicyIsNotLateWhenTheLibraryIs(t *testing.T) {
	t.Parallel()
	r, id := actedRun(t, acting(0.5, 0, 0), stageTraining)
	late := fmt.Errorf("no time: %w", context.DeadlineExceeded)
	r.next.Blueprint = func(string) (Candidate, bool, error) { return Candidate{}, false, late }
	r.next.Consult = func(Policy, [][]float32) ([][]float32, error) { return nil, late }
	decision := r.report(1, seedState(id, stageTraining))
	attributesOf(t, decision, "timeout_urza")
	if told := events(decision); slices.Contains(told, "timeout_inference") || slices.Contains(told, "policy_failed") {
		t.Errorf("told %v", told)
	}
	if r.record.Inference != (breaker{}) || r.record.Library == (breaker{}) {
		t.Errorf("breakers %+v, of the library %+v", r.record.Inference, r.record.Library)
	}
}

// Two policies of which each would begin the same at every slot differ when they take another slot.
func TestThePolicyInTheShadowIsComparedByTheSlotThatItTakes(t *testing.T) {
	t.Parallel()
	wide := &judge{version: "wide", answer: func(row []float32) []float32 { return []float32{row[9], 0, 1, 0} }}
	narrow := &judge{version: "narrow", answer: func(row []float32) []float32 { return []float32{8 - row[9], 0, 1, 0} }}
	for name, row := range map[string]struct {
		shadow  *judge
		would   string // at the slot that the other one takes
		counted shadowed
	}{
		"another":  {narrow, wait, shadowed{"narrow", 0, 2}},
		"the same": {&judge{version: "also wide", answer: wide.answer}, "BP002 at b", shadowed{"also wide", 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{Policies: decidedBy(&judge{version: "wide", answer: wide.answer}, row.shadow)})
			r.next.Slots = map[string][]int{"a": {8}, "b": {512}}
			r.stall()
			if r.record.Shadow != row.counted {
				t.Errorf("counted %+v, want %+v", r.record.Shadow, row.counted)
			}
			for _, event := range r.decisions[len(r.decisions)-1].Packets[0].GetEvents() {
				told := event.GetAttributes()
				if told["would_have"] == "BP002 at b" && told["would"] != row.would {
					t.Errorf("told as %v, want %s", told, row.would)
				}
			}
		})
	}
}

// Of a seed that one of them keeps out the other could have nothing else become before it is back.
func TestAPausedSeedIsComparedAsWhatCouldBecomeOfIt(t *testing.T) {
	t.Parallel()
	shadow := acting(0.5, 0, 0)
	r := newRun(t, Config{})
	id := r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageTraining))
	r.controller = NewController(Config{Policies: decidedBy(acting(0, 0.5, 0), shadow)})
	for _, want := range []string{"cull", "leave"} { // in the second report it is out
		told := attributesOf(t, r.report(1, seedState(id, stageTraining)), "policy_shadow")
		if told["would"] != want+" "+id || told["would_have"] != "pause "+id {
			t.Errorf("told as %v, want %s", told, want)
		}
	}
}

func TestAPolicyInTheShadowThatFailsIsAskedNothingMore(t *testing.T) {
	t.Parallel()
	shadow := &judge{version: "shadow", answer: smallest, err: errors.New("no room")}
	r := newRun(t, Config{MaxGrowing: 2})
	id := r.stall().GetTargetSeedId()
	r.next.Slots = map[string][]int{"layer1": {64, 7, 7}, "layer2": {64, 7, 7}}
	r.controller = NewController(Config{MaxGrowing: 2, Policies: decidedBy(nil, shadow)})
	decision := r.report(1, seedState(id, stageTraining))
	if told := attributesOf(t, decision, "policy_failed"); told["reason"] != "no room" || len(shadow.rows) == 0 || shadow.rows[0][FeatureLiving] == 1 {
		t.Errorf("told as %v after it was asked about %v", told, shadow.rows)
	}
}
