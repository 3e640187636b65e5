package tamiyo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// counted is a policy that counts how often it is asked, and answers as it is told to.
type counted struct {
	judge
	asked int
}

func (c *counted) Judge(ctx context.Context, rows [][]float32) ([][]float32, error) {
	c.asked++
	return c.judge.Judge(ctx, rows)
}

// tardy is a policy that is always late.
func tardy() *counted {
	late := fmt.Errorf("evaluate: %w", context.DeadlineExceeded)
	return &counted{judge: judge{version: "slow-1", answer: answering(1, 0.25), err: late}}
}

// growingUnder is a run with a seed that lives and a slot that is free, in whose report so many
// the policy is late for the first time.
func growingUnder(t *testing.T, policy *counted) (r *run, id string) {
	t.Helper()
	var inForce Policy
	r = newRun(t, Config{MaxGrowing: 2, Policies: func() (Policy, Policy) { return inForce, nil }})
	id = r.stall().GetTargetSeedId()
	r.next.Slots = map[string][]int{"layer1": {64, 7, 7}, "layer2": {64, 7, 7}}
	r.interval = time.Second
	inForce = policy
	for range 10 {
		if r.report(1, seedState(id, stageTraining)); policy.asked > 0 {
			return r, id
		}
	}
	t.Fatal("the policy was not asked")
	return nil, ""
}

func TestAPolicyThatIsAlwaysLateIsNotAskedForAWhileAndTheRulesDecide(t *testing.T) {
	t.Parallel()
	policy := tardy()
	r, id := growingUnder(t, policy)
	living := seedState(id, stageTraining)
	for i, want := range []string{"count", "count", "open"} {
		if i > 0 {
			r.report(1, living)
		}
		decision := r.decisions[len(r.decisions)-1]
		if got := attributesOf(t, decision, "breaker_event"); got["action"] != want || got["component"] != "inference" {
			t.Errorf("report %d: breaker event %v", i, got)
		}
		attributesOf(t, decision, "timeout_inference")
	}
	decision := r.report(1, living)
	if got := operations(decision); !slices.Equal(got, []string{"COMMAND_PAUSE", "SEED_OP_GERMINATE"}) || policy.asked != 3 {
		t.Fatalf("commands %v after the policy was asked %d times", got, policy.asked)
	}
	if resumed := decision.Commands[0].GetAnnotations()["resume"]; resumed != "true" {
		t.Errorf("the seed that lives is paused again: %v", decision.Commands[0])
	}
	if got := decision.Commands[1].GetAnnotations(); got["policy_version"] != DefaultPolicyVersion || got["policy_risk_score"] != "" {
		t.Errorf("begun as %v", got)
	}
	if slices.Contains(events(decision), "policy_failed") || slices.Contains(events(decision), "timeout_inference") {
		t.Errorf("events %v", events(decision))
	}
}

func TestAPolicyIsAskedOnceAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	policy := tardy()
	r := newRun(t, Config{Policies: func() (Policy, Policy) { return policy, nil }})
	r.record = stalled(r)
	for range 3 {
		r.report(1)
	}
	if policy.asked != 3 || !r.record.Inference.denies(r.now) {
		t.Fatalf("asked %d times, breaker %+v", policy.asked, r.record.Inference)
	}
	r.now = r.now.Add(breakerCooldown)
	if got := attributesOf(t, r.report(1), "breaker_event"); got["action"] != "open" || policy.asked != 4 {
		t.Errorf("late again: %v, asked %d times", got, policy.asked)
	}
	r.now, policy.err = r.now.Add(breakerCooldown), nil
	decision := r.report(1)
	got := attributesOf(t, decision, "breaker_event")
	if got["action"] != "close" || got["component"] != "inference" || policy.asked != 5 || r.record.Inference != (breaker{}) {
		t.Errorf("in time: %v, asked %d times, breaker %+v", got, policy.asked, r.record.Inference)
	}
	if got := only(t, decision, "SEED_OP_GERMINATE").GetAnnotations()["policy_version"]; got != "slow-1" {
		t.Errorf("decided by %s", got)
	}
}

// A breaker is one policy's: another one that decides is asked, and counted from its first answer, and
// where none decides nothing stands open.
func TestABreakerIsOfThePolicyThatWasLate(t *testing.T) {
	t.Parallel()
	var inForce Policy = tardy()
	r := newRun(t, Config{Policies: func() (Policy, Policy) { return inForce, nil }})
	r.record = stalled(r)
	for range 3 {
		r.report(1)
	}
	open := r.record
	if !open.Inference.denies(r.now) {
		t.Fatalf("breaker %+v", open.Inference)
	}
	next := tardy()
	next.version, inForce = "slow-2", next
	if got := attributesOf(t, r.report(1), "breaker_event"); got["action"] != "count" || next.asked != 1 {
		t.Errorf("another policy: %v, asked %d times", got, next.asked)
	}
	r.record, inForce = open, nil
	state := -1.0
	for _, point := range r.report(1).Packets[0].GetMetrics() {
		if point.GetName() == "tamiyo.breaker.inference_state" {
			state = float64(point.GetValue())
		}
	}
	if leyline.CircuitBreakerState(state) != leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED || r.record.Inference != (breaker{}) {
		t.Errorf("without a policy %+v is told as %v", r.record.Inference, state)
	}
}

// Where every blueprint is refused there is nothing to ask a policy, and nothing comes of it for its
// breaker: neither an answer in time nor a late one.
func TestAPolicyThatIsAskedAboutNothingWasNeitherInTimeNorLate(t *testing.T) {
	t.Parallel()
	policy := tardy()
	r := newRun(t, Config{Policies: func() (Policy, Policy) { return policy, nil }})
	r.record = stalled(r)
	for range 3 {
		r.report(1)
	}
	r.now = r.now.Add(breakerCooldown)
	before := r.record.Inference
	r.candidates = offer(with("BP001", 100, func(c *Candidate) { c.Risk = 0.6 }))
	for name, err := range map[string]error{"in time": nil, "late": policy.err} {
		policy.err = err
		if decision := r.report(1); slices.Contains(events(decision), "breaker_event") || policy.asked != 3 || r.record.Inference != before {
			t.Errorf("%s: %v, asked %d times, breaker %+v", name, events(decision), policy.asked, r.record.Inference)
		}
	}
	r.candidates, policy.err = offer(safe("BP002", 100)), tardy().err
	if got := attributesOf(t, r.report(1), "breaker_event"); got["action"] != "open" {
		t.Errorf("late at a slot: %v", got)
	}
}

// stalled is the record of a run that asks for a seed in each report from here on.
func stalled(r *run) *Record {
	for range 4 {
		r.report(1)
	}
	return r.record
}

// A breaker that is open says nothing of the risk for which a policy stopped the run.
func TestAnOpenBreakerOfThePolicyEndsNoConservativeMode(t *testing.T) {
	t.Parallel()
	policy := &counted{judge: judge{version: "p", answer: answering(1, 0.99, 1, 0)}}
	var inForce Policy = policy
	r := newRun(t, Config{Policies: func() (Policy, Policy) { return inForce, nil }})
	for range 5 {
		r.report(1)
	}
	r.record.Inference = breaker{Failures: breakerTrips - 1, Until: r.now.Add(time.Hour).UnixMilli()}
	for range 8 {
		if decision := r.report(1); len(decision.Commands) > 0 || !r.record.Conservative.active() {
			t.Fatalf("commands %v, %+v", operations(decision), r.record.Conservative)
		}
	}
	inForce = nil // it was rolled back, and its breaker stands for nothing
	until(t, "SEED_OP_GERMINATE", func() Decision { return r.report(1) })
}

// The library's breaker and the policy's are two: one that answers does not close the other's.
func TestTheBreakersCountApart(t *testing.T) {
	t.Parallel()
	r, id := growingUnder(t, tardy())
	for range 2 {
		r.report(1, seedState(id, stageTraining))
	}
	if r.record.Library != (breaker{}) || !r.record.Inference.denies(r.now) {
		t.Errorf("library %+v, inference %+v", r.record.Library, r.record.Inference)
	}
	states := map[string]leyline.CircuitBreakerState{}
	for _, point := range r.decisions[len(r.decisions)-1].Packets[0].GetMetrics() {
		states[point.GetName()] = leyline.CircuitBreakerState(point.GetValue())
	}
	if states["tamiyo.breaker.inference_state"] != leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN ||
		states["tamiyo.breaker.metadata_state"] != leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED {
		t.Errorf("told as %v", states)
	}
}

func TestALateShadowOpensNoBreaker(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{Policies: func() (Policy, Policy) { return nil, tardy() }})
	r.candidates = func([]int) ([]Candidate, error) { return nil, errors.New("not now") }
	r.record = stalled(r)
	r.candidates = offer(safe("BP002", 100))
	for range 3 {
		r.report(1)
	}
	if r.record.Inference != (breaker{}) {
		t.Errorf("breaker %+v", r.record.Inference)
	}
}

// What a release knows nothing of it passes over, and what the last one did not write is not there.
func TestARecordOfAnotherReleaseIsRead(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"the last one": `{"format":1,"run":"run-1","epoch":1,"evaluated":1,"seen_at_ms":1,"library":{"failures":1}}`,
		"the next one": `{"format":1,"run":"run-1","epoch":1,"evaluated":1,"seen_at_ms":1,"library":{"failures":1},"novelty":{"a":1}}`,
	} {
		record, err := DecodeRecord([]byte(text))
		if err != nil || record.Library.Failures != 1 || record.Inference != (breaker{}) {
			t.Errorf("%s: %+v, %v", name, record, err)
		}
	}
}
