package tamiyo

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// Policy weighs what may be begun in place of the controller's own worth, and says what is to
// become of living seeds. The same rows always give the same answers.
type Policy interface {
	Version() string
	// Judge answers rows of features, one for each, each as wide as they are. An error that
	// wraps context.DeadlineExceeded says that there was no time for it.
	Judge(ctx context.Context, rows [][]float32) ([][]float32, error)
}

// VersionOf is the version of a policy as all that a decision says names it.
func VersionOf(policy Policy) string { return clippedWord(policy.Version()) }

// deciding are the policies of one evaluation, nil where there is none, and what they were
// asked.
type deciding struct {
	active, shadow Policy

	looked   [][]considered    // what stood to choose at each slot, by the controller's own worth
	living   []seed            // that they are asked about
	actions  map[string]action // of the one that decides, by seed
	denied   bool              // its breaker keeps the one that decides from being asked, and the rules decide in its place
	answered bool              // the one that decides did
	late     bool              // the step ran out of time over it
}

// admit sets the policies of a pass. One that was late too often is not asked for a while: that one,
// not another that decides since.
func (e planner) admit(active, shadow Policy) {
	e.deciding.active, e.deciding.shadow = active, shadow
	var of string
	if active != nil {
		of = VersionOf(active)
	}
	if e.record.InferenceOf != of {
		e.record.Inference, e.record.InferenceOf = breaker{}, of
	}
	if e.deciding.denied = active != nil && e.record.Inference.denies(e.now); e.deciding.denied {
		e.deciding.active = nil
	}
	e.policy = e.deciding.version()
}

// judged has a policy judge within the step.
func (e planner) judged(policy Policy, rows [][]float32) ([][]float32, error) {
	if e.state.Consult == nil {
		return policy.Judge(context.Background(), rows) // a step without a bound, as a replay is
	}
	return e.state.Consult(policy, rows)
}

// version is what all that a decision says names.
func (d deciding) version() string {
	if d.active == nil {
		return DefaultPolicyVersion
	}
	return cmp.Or(VersionOf(d.active), DefaultPolicyVersion)
}

// beginnable are those of a ranking that might be begun: the refused stand last.
func beginnable(ranked []considered) []considered {
	if refused := slices.IndexFunc(ranked, func(c considered) bool { return c.refusal != "" }); refused >= 0 {
		return ranked[:refused]
	}
	return ranked
}

func (e planner) rows(open []considered) [][]float32 {
	rows := make([][]float32, len(open))
	for i, c := range open {
		rows[i] = e.ofCandidate(c)
	}
	return rows
}

// tellWeighed tells who hears of it what stands to choose at a slot.
func (e planner) tellWeighed(open []considered) {
	if e.state.Weighed == nil || len(open) == 0 {
		return
	}
	blueprints := make([]string, len(open))
	for i, c := range open {
		blueprints[i] = c.candidate.BlueprintID
	}
	e.state.Weighed(open[0].slot, blueprints, e.rows(open))
}

// consult has a policy weigh what may be begun at a slot, if anything may. What it leaves is in
// the order of its answers.
func (e planner) consult(policy Policy, ranked []considered) ([]considered, error) {
	weighed := slices.Clone(ranked)
	open := beginnable(weighed)
	if len(open) == 0 {
		return weighed, nil
	}
	answers, err := e.judged(policy, e.rows(open))
	if err != nil {
		return nil, err
	}
	for i := range open {
		answer := answers[i]
		open[i].worth = float64(answer[answerWorth])
		open[i].risk = rules.Told(min(max(float64(answer[answerRisk]), 0), 1))
		open[i].residual = answer[answerResidual] > answer[answerConvex]
	}
	slices.SortStableFunc(open, func(a, b considered) int { return cmp.Compare(b.worth, a.worth) })
	return weighed, nil
}

// errLate is why nothing more is looked for: the pass gives no seed, and what it would ask
// for comes too late.
var errLate = errors.New("the policy did not answer within the step")

// weigh ranks what may be begun at a slot by the policy that decides, when there is one. What
// it has no time for or fails at, the controller's own worth ranks.
func (e planner) weigh(ranked []considered) []considered {
	open := beginnable(ranked)
	e.tellWeighed(open)
	decided := ranked
	if active := e.deciding.active; active != nil && len(open) > 0 {
		weighed, err := e.consult(active, ranked)
		if err == nil {
			decided = weighed
		}
		e.settleAnswer(active, err)
	}
	e.deciding.looked = append(e.deciding.looked, ranked)
	return decided
}

// settleAnswer takes note of how the policy that decides answered.
func (e planner) settleAnswer(active Policy, err error) {
	switch {
	case err == nil:
		e.deciding.answered = true
		return
	case errors.Is(err, context.DeadlineExceeded):
		e.deciding.late = true
		e.candidates = func([]int) ([]Candidate, error) { return nil, errLate }
	}
	e.plan.unjudged = true
	e.tellFailed(active, err)
}

func (e planner) tellFailed(policy Policy, err error) {
	e.event("policy_failed", levelWarning, "training_run_id", e.record.Run,
		"policy_version", VersionOf(policy), "reason", clipped(err.Error()))
}

// compareShadow tells what the policy in the shadow would have begun, and what was, each with
// what the rules make of its risk, and what it would have had become of living seeds. It comes
// last: what it takes of the step, nothing waits for.
func (e planner) compareShadow() {
	shadow := e.deciding.shadow
	if shadow == nil {
		return
	}
	err := e.compareSlots(shadow)
	if err == nil {
		err = e.compareSeeds(shadow)
	}
	if err != nil {
		e.tellFailed(shadow, err)
	}
}

func (e planner) compareSlots(shadow Policy) (failure error) {
	var slots []string
	var begins []considered
	for _, ranked := range e.deciding.looked {
		weighed, err := e.consult(shadow, ranked)
		if err != nil {
			failure = err
			break
		}
		if len(weighed) == 0 || weighed[0].refusal != "" {
			continue
		}
		slots = append(slots, weighed[0].slot)
		if weighed[0].begins() {
			begins = append(begins, weighed[0])
		}
	}
	var beside plan
	for _, best := range byWorth(begins)[:min(len(begins), e.spare())] {
		beside.choose(best)
	}
	didHold, wouldHold := e.deciding.late || holds(e.plan.policyRisk()), holds(beside.policyRisk())
	for _, slot := range slots {
		e.compared(shadow, unless(wouldHold, beside.begun(slot)), unless(didHold, e.plan.begun(slot)))
	}
	return failure
}

func (e planner) compared(shadow Policy, would, did string) {
	e.record.Shadow = e.record.Shadow.compared(VersionOf(shadow), would == did)
	e.event("policy_shadow", levelInfo, "training_run_id", e.record.Run, "policy_version", VersionOf(shadow),
		"would", would, "would_have", did)
}

// holds says whether the rules have no seed begun at such a risk.
func holds(risk rules.Figure) bool {
	return rules.Assess(&rules.Facts{Begins: true, Policy: rules.Policy{Risk: risk}}).Effect >= rules.Hold
}

func unless(held bool, begun string) string {
	if held {
		return wait
	}
	return begun
}

const wait = "wait"

// begun is what comes of a slot: what begins there, or that it is waited.
func (p *plan) begun(slot string) string {
	for _, planned := range p.seeds {
		if planned.slot == slot {
			return planned.candidate.BlueprintID + " at " + slot
		}
	}
	return wait
}

// shadowed counts how often the policy in the shadow would have done as was done.
type shadowed struct {
	Policy   string `json:"policy,omitempty"`
	Agreed   uint32 `json:"agreed,omitempty"`
	Differed uint32 `json:"differed,omitempty"`
}

func (s shadowed) compared(version string, agreed bool) shadowed {
	if s.Policy != version {
		s = shadowed{Policy: version}
	}
	if agreed {
		s.Agreed++
	} else {
		s.Differed++
	}
	return s
}

// Compared says whether the policy of that version was asked in the shadow, in this run, about what
// was decided.
func (r *Record) Compared(version string) bool {
	return r.Shadow.Policy == clippedWord(version) && r.Shadow.Agreed+r.Shadow.Differed > 0
}

func clippedWord(text string) string { return clipped(text[:min(len(text), maxText)]) }

// policyRisk is the highest of what the policy says of those that would be begun.
func (p *plan) policyRisk() rules.Figure {
	var highest rules.Figure
	for _, planned := range p.seeds {
		if planned.risk.Known && (!highest.Known || planned.risk.Value > highest.Value) {
			highest = planned.risk
		}
	}
	return highest
}

// blend is the blend that a policy asks for, as an annotation; empty leaves it to Kasmina.
func (c choice) blend() string {
	if !c.residual {
		return ""
	}
	return "RESIDUAL"
}
