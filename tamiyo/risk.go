package tamiyo

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// restraint is what holds a run back.
type restraint struct {
	Conservative conservativeMode `json:"conservative,omitzero"`
	Unrest       unrest           `json:"unrest,omitzero"`
	Library      breaker          `json:"library,omitzero"`       // of the questions to the kernel library
	Inference    breaker          `json:"inference,omitzero"`     // of those to the policy that decides
	InferenceOf  string           `json:"inference_of,omitempty"` // its version
}

// conservativeMode stops growth after something went wrong. It ends only after
// a number of calm epochs, never in the pass that entered it.
type conservativeMode struct {
	Reason  string `json:"reason"`  // empty: not conservative
	Entered uint64 `json:"entered"` // reports evaluated by then
}

func (m conservativeMode) active() bool { return m.Reason != "" }

// unrest lasts from a rule that paused the run until it has been calm for a while.
type unrest struct {
	Rule string `json:"rule,omitempty"` // the last one; empty: the run is calm
	Calm uint32 `json:"calm,omitempty"` // consecutive reports without such a rule
}

func (u unrest) holds() bool { return u.Rule != "" }

// conservative says whether the run's growth is stopped, by a rule or by command.
func (e *evaluation) conservative() bool {
	return e.config.Conservative || e.record.Conservative.active()
}

// assessRisk asks the rules and keeps what follows for the passes after this one.
func (e *evaluation) assessRisk() {
	facts := e.facts()
	e.verdict = rules.Assess(&facts)
	for _, finding := range e.verdict.Findings {
		if finding.Rule != eventExited {
			e.event(finding.Rule, finding.Level, told(e.record.Run, e.loss.delta, finding)...)
		}
	}
	mode, quiet := &e.record.Conservative, &e.record.Unrest
	switch {
	case e.verdict.Disturb != "":
		*quiet = unrest{Rule: e.verdict.Disturb}
	case e.config.Conservative: // the next report may be another instance's to decide on
		*quiet = unrest{Rule: causeConservative}
	case e.verdict.Uneasy:
		quiet.Calm = 0
	case e.verdict.Calm && (quiet.holds() || mode.active()):
		quiet.Calm = min(quiet.Calm, e.config.HoldDownEpochs) + 1
	}
	switch {
	case e.verdict.Stops != "":
		e.enterConservative(e.verdict.Stops)
	case e.verdict.Recovers && mode.active():
		e.leaveConservative()
	}
	if quiet.Calm >= e.config.HoldDownEpochs && !mode.active() {
		*quiet = unrest{}
	}
}

// told are the attributes of a finding's event.
func told(run string, delta rules.Figure, finding rules.Finding) []string {
	pairs := []string{"training_run_id", run}
	if delta.Known && !slices.Contains(finding.Figures, "loss_delta") {
		pairs = append(pairs, "loss_delta", strconv.FormatFloat(delta.Value, 'f', 6, 64))
	}
	if finding.Subject != "" {
		pairs = append(pairs, "blueprint_id", finding.Subject)
	}
	if finding.Effect > rules.Tell {
		pairs = append(pairs, "effect", finding.Effect.String())
	}
	return append(pairs, finding.Figures...)
}

// facts are what the rules may look at.
func (e *evaluation) facts() rules.Facts {
	r := e.record
	return rules.Facts{
		Policy: rules.Policy{Risk: e.plan.policyRisk(), Failed: e.plan.unjudged, Overdue: e.deciding.late},
		Begins: e.plan.begins(), Pausable: r.pausable(), Overdue: e.plan.overdue,
		Loss: rules.Loss{
			Validated: e.loss.validated, Diverged: e.loss.validated && !finite(e.loss.value), Delta: e.loss.delta,
		},
		Mode: rules.Mode{
			Conservative: e.conservative(), Commanded: e.config.Conservative, Denied: e.deciding.denied || r.Library.denies(e.now),
			Unrest: r.Unrest.Rule, Calm: r.Unrest.Calm, HoldDown: e.config.HoldDownEpochs,
		},
		Metrics: e.state.Packet.GetTrainingMetrics(), Hardware: e.state.Packet.GetHardwareContext(),
		Blueprints: e.plan.blueprints,
	}
}

// pausable is the number of seeds that a pause would take out of the output.
func (r *Record) pausable() int {
	count := 0
	for i := range r.Seeds {
		if s := &r.Seeds[i]; !s.Ended && !s.Paused && pausable(s.Stage) {
			count++
		}
	}
	return count
}

func (e *evaluation) enterConservative(reason string) {
	mode := &e.record.Conservative
	if !mode.active() {
		mode.Entered = e.record.Evaluated
		e.event("conservative_entered", levelWarning, "training_run_id", e.record.Run, "reason", reason)
	}
	mode.Reason = reason
}

const eventExited = "conservative_exited"

func (e *evaluation) leaveConservative() {
	mode := e.record.Conservative
	e.record.Conservative = conservativeMode{}
	e.event(eventExited, levelInfo,
		"training_run_id", e.record.Run, "reason", "stable", "previous_reason", mode.Reason,
		"duration_epochs", decimal(e.record.Evaluated-mode.Entered))
}

const (
	breakerTrips    = 3 // failures in a row that open a breaker
	breakerCooldown = 30 * time.Second
)

// breaker keeps a run from asking a part that does not answer.
type breaker struct {
	Failures int   `json:"failures,omitempty"`      // in a row, as far as the limit
	Until    int64 `json:"open_until_ms,omitempty"` // since 1970; 0: closed
}

func (b breaker) denies(now time.Time) bool { return now.UnixMilli() < b.Until }

// after is the breaker after an answer, or none, and what there is to tell of it. One
// whose time is up is tried once: a failure opens it again.
func (b breaker) after(failed bool, now time.Time) (next breaker, action string) {
	switch {
	case !failed && b.Until != 0:
		return breaker{}, "close"
	case !failed:
		return breaker{}, ""
	case b.Failures+1 >= breakerTrips:
		return breaker{Failures: breakerTrips - 1, Until: now.Add(breakerCooldown).UnixMilli()}, "open"
	default:
		return breaker{Failures: b.Failures + 1}, "count"
	}
}

// state is the breaker's as its telemetry tells it.
func (b breaker) state(now time.Time) leyline.CircuitBreakerState {
	switch {
	case b.Until == 0:
		return leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED
	case b.denies(now):
		return leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	default:
		return leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN
	}
}

// What breakers stand before, as their event names it.
const (
	componentLibrary   = "metadata"
	componentInference = "inference"
)

// settleBreaker takes note of how a component answered in this pass.
func (e planner) settleBreaker(of *breaker, component string, failure error) {
	var action string
	*of, action = of.after(failure != nil, e.now)
	if action == "" {
		return
	}
	level := levelWarning
	reason := "answered"
	switch action {
	case "open":
		level = levelCritical
	case "close":
		level = levelInfo
	}
	if failure != nil {
		reason = clipped(failure.Error())
	}
	e.event("breaker_event", level, "training_run_id", e.record.Run, "component", component, "action", action,
		"reason", cmp.Or(reason, "unknown"), "failures", strconv.Itoa(of.Failures))
}
