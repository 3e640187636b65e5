package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// judge is a policy that answers each blueprint by a list.
type judge struct {
	version string
	answer  func(row []float32) []float32
	rows    [][]float32
	err     error
}

func (j *judge) Version() string { return j.version }

func (j *judge) Judge(_ context.Context, rows [][]float32) ([][]float32, error) {
	j.rows = rows
	answers := make([][]float32, len(rows))
	for i, row := range rows {
		answers[i] = make([]float32, len(row))
		copy(answers[i], j.answer(row))
	}
	return answers, j.err
}

// decidedBy are policies; nil where there is none.
func decidedBy(active, shadow *judge) func() (Policy, Policy) {
	return func() (a, s Policy) {
		if active != nil {
			a = active
		}
		if shadow != nil {
			s = shadow
		}
		return a, s
	}
}

// smallest answers what has the fewest parameters best.
func smallest(row []float32) []float32 { return []float32{8 - row[10], 0.25, 0, 1} }

func answering(answer ...float32) func([]float32) []float32 {
	return func([]float32) []float32 { return answer }
}

func TestAPolicyChoosesAmongWhatTheRulesAllow(t *testing.T) {
	t.Parallel()
	policy := &judge{version: "small-1", answer: smallest}
	r := newRun(t, Config{Policies: decidedBy(policy, nil)})
	risky := safe("BP000", 1)
	risky.Risk = 0.51
	r.candidates = offer(safe("BP002", 100), safe("BP003", 50), safe("BP004", 70), risky)
	command := r.stall()
	got := command.GetAnnotations()
	if got["selected_blueprint"] != "BP003" || got["policy_version"] != "small-1" || got["blend_mode"] != "RESIDUAL" ||
		got["policy_risk_score"] != "0.250000" || got["policy_risk_index"] != "1" {
		t.Errorf("annotations %v", got)
	}
	if signal := attributesOf(t, r.decisions[len(r.decisions)-1], "policy_risk_signal"); signal["index"] != "1" {
		t.Errorf("told as %v", signal)
	}
	if len(policy.rows) != 3 || len(policy.rows[0]) != FeatureColumns || policy.rows[0][0] != 1 {
		t.Errorf("the policy was asked for %v", policy.rows)
	}
}

func TestASeedThatIsAskedForAgainKeepsTheBlendOfItsPolicy(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{Policies: decidedBy(&judge{version: "small-1", answer: smallest}, nil)})
	first := r.stall()
	for range 10 {
		decision := r.report(1)
		if len(decision.Commands) == 0 {
			continue
		}
		again := only(t, decision, "SEED_OP_GERMINATE")
		if got := again.GetAnnotations()["blend_mode"]; again.GetTargetSeedId() != first.GetTargetSeedId() || got != "RESIDUAL" {
			t.Errorf("seed %s is asked for again with blend %q", again.GetTargetSeedId(), got)
		}
		return
	}
	t.Error("it was not asked for again")
}

func TestTheRulesRestrainAPolicy(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		answer  []float32
		command string
		event   string
	}{
		"it begins":               {[]float32{1, 0, 1, 0}, "SEED_OP_GERMINATE", "policy_risk_signal"},
		"it waits":                {[]float32{-1, 0, 1, 0}, "", ""},
		"it is not sure":          {[]float32{1, 0.9, 1, 0}, "", "policy_risk_elevated"},
		"it warns":                {[]float32{1, 0.99, 1, 0}, "", "policy_risk_critical"},
		"its risk is beyond 1":    {[]float32{1, 7, 1, 0}, "", "policy_risk_critical"},
		"its risk is below 0":     {[]float32{1, -7, 1, 0}, "SEED_OP_GERMINATE", "policy_risk_signal"},
		"the smallest worth of 0": {[]float32{0, 0, 1, 0}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{Policies: decidedBy(&judge{version: "p", answer: answering(row.answer...)}, nil)})
			for range 4 {
				r.report(1)
			}
			decision := r.report(1)
			if row.command == "" && len(decision.Commands) > 0 {
				t.Errorf("commands %v", operations(decision))
			}
			if row.command != "" {
				only(t, decision, row.command)
			}
			if row.event != "" {
				attributesOf(t, decision, row.event)
			}
		})
	}
}

func TestARunThatAPolicyStoppedGoesOnWhenItSaysOtherwise(t *testing.T) {
	t.Parallel()
	policy := &judge{version: "p", answer: answering(1, 0.99, 1, 0)}
	r := newRun(t, Config{Policies: decidedBy(policy, nil)})
	stopped := func(reports int) {
		t.Helper()
		for range reports {
			if decision := r.report(1); len(decision.Commands) > 0 || r.epoch > 4 && !r.record.Conservative.active() {
				t.Fatalf("report %d: commands %v, %+v", r.epoch, operations(decision), r.record.Conservative)
			}
		}
	}
	stopped(5 + 3 + 3) // it is asked again in each report that might end the mode
	policy.err = errors.New("no room")
	stopped(4) // without an answer nothing is over
	policy.answer, policy.err = answering(1, 0.1, 1, 0), nil
	until(t, "SEED_OP_GERMINATE", func() Decision { return r.report(1) })

	policy.answer = answering(1, 0.99, 1, 0)
	r = newRun(t, Config{Policies: decidedBy(policy, nil)})
	stopped(5)
	r.controller = NewController(Config{}) // it was rolled back
	until(t, "SEED_OP_GERMINATE", func() Decision { return r.report(1) })
}

func TestAPolicyThatFailsLeavesItToTheRules(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{Policies: decidedBy(&judge{version: "p", answer: smallest, err: errors.New("no room")}, nil)})
	command := r.stall()
	if got := command.GetAnnotations()["selected_blueprint"]; got != "BP002" {
		t.Errorf("began %s", got)
	}
	if got := attributesOf(t, r.decisions[len(r.decisions)-1], "policy_failed"); got["reason"] != "no room" || got["policy_version"] != "p" {
		t.Errorf("told as %v", got)
	}
}

func TestAPolicyInTheShadowIsToldAndDecidesNothing(t *testing.T) {
	t.Parallel()
	shadow := &judge{version: "small-1", answer: smallest}
	r, plain := newRun(t, Config{Policies: decidedBy(nil, shadow)}), newRun(t, Config{})
	command, want := r.stall(), plain.stall()
	if command.GetCommandId() != want.GetCommandId() || command.GetAnnotations()["policy_version"] != DefaultPolicyVersion {
		t.Errorf("command %v, want %v", command, want)
	}
	told := attributesOf(t, r.decisions[len(r.decisions)-1], "policy_shadow")
	if told["would"] != "BP003 at layer1" || told["would_have"] != "BP002 at layer1" || told["policy_version"] != "small-1" {
		t.Errorf("told as %v", told)
	}
	if got := r.record.Shadow; got != (shadowed{Policy: "small-1", Differed: 1}) {
		t.Errorf("counted %+v", got)
	}
}

func TestFeaturesAreNumbersWithinBounds(t *testing.T) {
	t.Parallel()
	policy := &judge{version: "p", answer: answering(1, 0)}
	r := newRun(t, Config{Policies: decidedBy(policy, nil)})
	odd := safe("BP009", math.MaxInt)
	odd.Risk, odd.MultiplyAdds, odd.Earned = math.Inf(-1), math.MinInt64, Earned{Tried: -1, Kept: 7, Gain: math.NaN()}
	r.candidates = offer(odd)
	for range 6 {
		r.report(float32(math.NaN()))
		r.report(1)
	}
	for _, row := range policy.rows {
		for column, value := range row {
			if !(value >= -8 && value <= 8) {
				t.Errorf("feature %d is %v", column, value)
			}
		}
	}
}

// What a policy has no time for is decided by the rules: the run is paused until a report is
// decided in time, and nothing more is asked for.
func TestAPolicyThatIsOutOfTimePausesTheRun(t *testing.T) {
	t.Parallel()
	late := &judge{version: "slow", answer: smallest, err: fmt.Errorf("evaluate: %w", context.DeadlineExceeded)}
	policies := decidedBy(late, nil)
	r := newRun(t, Config{MaxGrowing: 2, Policies: func() (Policy, Policy) { return policies() }})
	r.next.Slots = map[string][]int{"layer1": {64}, "layer2": {64}}
	asked, offered := 0, r.candidates
	r.candidates = func(slot []int) ([]Candidate, error) { asked++; return offered(slot) }
	for range 4 {
		r.report(1)
	}
	decision := r.report(1)
	if len(decision.Commands) > 0 || asked != 1 {
		t.Errorf("%v after %d questions", operations(decision), asked)
	}
	if told := attributesOf(t, decision, "timeout_inference"); told["effect"] != "pause" {
		t.Errorf("told as %v", told)
	}
	if slices.Contains(events(decision), "timeout_urza") {
		t.Error("the library is blamed")
	}
	attributesOf(t, decision, "policy_failed")
	policies = decidedBy(nil, nil)
	if decision = r.report(1); len(decision.Commands) != 2 {
		t.Errorf("in time %v", operations(decision))
	}
}

// The one in the shadow is asked last, and holds nothing back.
func TestAPolicyInTheShadowThatIsOutOfTimeHoldsNothing(t *testing.T) {
	t.Parallel()
	late := &judge{version: "slow", answer: smallest, err: fmt.Errorf("evaluate: %w", context.DeadlineExceeded)}
	r := newRun(t, Config{Policies: decidedBy(nil, late)})
	r.stall()
	attributesOf(t, r.decisions[len(r.decisions)-1], "policy_failed")
}

// What a policy in the shadow would have done is what the rules leave of it.
func TestTheRulesRestrainAPolicyInTheShadow(t *testing.T) {
	t.Parallel()
	active := &judge{version: "active", answer: answering(1, 0)}
	for name, row := range map[string]struct {
		risk        float32
		decides     *judge
		would, done string
	}{
		"no risk":       {0, active, "BP002 at layer1", "BP002 at layer1"},
		"some":          {0.84, nil, "BP002 at layer1", "BP002 at layer1"},
		"elevated":      {0.85, nil, wait, "BP002 at layer1"},
		"critical":      {0.99, active, wait, "BP002 at layer1"},
		"the other way": {0, &judge{version: "active", answer: answering(1, 0.9)}, "BP002 at layer1", wait},
		"both":          {0.9, &judge{version: "active", answer: answering(1, 0.9)}, wait, wait},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{Policies: decidedBy(row.decides, &judge{version: "shadow", answer: answering(1, row.risk)})})
			for range 4 {
				r.report(1)
			}
			told := attributesOf(t, r.report(1), "policy_shadow")
			if told["would"] != row.would || told["would_have"] != row.done {
				t.Errorf("told as %v", told)
			}
			if agreed := r.record.Shadow.Agreed == 1; agreed != (row.would == row.done) {
				t.Errorf("counted %+v", r.record.Shadow)
			}
		})
	}
}

func TestALongVersionIsToldClipped(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 1000)
	r := newRun(t, Config{Policies: decidedBy(
		&judge{version: long, answer: smallest, err: errors.New("no room")}, &judge{version: long, answer: smallest})})
	r.stall()
	decision := r.decisions[len(r.decisions)-1]
	for _, event := range []string{"policy_failed", "policy_shadow"} {
		if got := attributesOf(t, decision, event)["policy_version"]; got != long[:maxText] {
			t.Errorf("%s names a version of %d bytes", event, len(got))
		}
	}
}
