package tamiyo

import (
	"cmp"

	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// Why a command was given, as in the annotation risk_reason and in reports.
const (
	causePolicy     = "policy"
	causeStall      = "validation_stalled"
	causeGain       = "seed_improved"
	causeRegression = "seed_regressed"
	causeAge        = "seed_stuck"
	causeAsked      = "policy_asked"
	causeNoEffect   = "germination_without_effect"
	causeRestarted  = "trainer_restarted"

	causeConservative = "conservative_mode"
)

// regressionEpochs of loss in a row cull a seed.
const regressionEpochs = 2

// steerer gives commands to the seeds of an evaluation.
type steerer struct{ *evaluation }

// steerSeeds gives each living seed at most one command.
func (e steerer) steerSeeds() {
	for i := range e.record.Seeds { // what is put back keeps its place
		if s := e.record.Seeds[i]; !s.Ended && !s.awaited() {
			e.record.put(e.steer(s))
		}
	}
}

// steer looks at what is wrong before it looks at what is well.
func (e steerer) steer(s seed) seed {
	restrained := e.conservative() || e.verdict.Effect >= rules.Pause
	if s.Pending.waits() && !e.lapsed(s) {
		if !restrained || s.Pending.Operation != opFossilize {
			return s
		}
		s.Pending = pending{} // what is paused is not kept, and is asked for again
	}
	frozen := restrained || e.verdict.Effect >= rules.Freeze
	wish := e.allowed(s, frozen)
	out := restrained || wish == actPause
	if wish == actPause && s.Paused && s.Hold.Out {
		s.Age++ // a policy cannot keep a slot for ever
	}
	operation, cause := e.judge(s, wish)
	switch {
	case operation == opCull:
		return e.order(s, opCull, cause)
	case e.state.Lives != nil && !e.state.Lives(s.ID):
		return s // it is on its way out, by Kasmina's order or by itself
	case out && pausable(s.Stage) && (!s.Paused || unheeded(e.evaluation, s)):
		return e.pause(s, restrained)
	case !out && !frozen && e.comesBack(s):
		return e.resume(s)
	case !frozen && operation == opFossilize && !s.Paused: // one that is out comes back first
		return e.order(s, opFossilize, cause)
	default:
		return s
	}
}

// comesBack says whether a seed that nobody wants out any more is put back into the output. In a
// run that is halted no policy is asked, and what one keeps out stays out until it is.
func (e steerer) comesBack(s seed) bool {
	if e.record.Unrest.holds() || e.deciding.active != nil && e.halted() {
		return false
	}
	return s.Paused || unheeded(e.evaluation, s) && (s.Hold.Attempts < maxResumes || held(e.evaluation, s))
}

// allowed is what a policy asks for of a seed, as far as the rules allow it in this pass.
func (e steerer) allowed(s seed, frozen bool) act {
	wish := e.deciding.actions[s.ID]
	reason := bars(s, wish.act)
	if wish.act != actNone && frozen {
		reason = cmp.Or(e.verdict.Reason, e.record.Conservative.Reason, causeConservative)
	}
	if reason == "" {
		return wish.act
	}
	e.withhold(s, wish, reason)
	return actNone
}

// judge goes by the seed's record, and by what a policy asks for beside it.
func (e *evaluation) judge(s seed, wish act) (operation, string) {
	improved := s.Stage == stageProbationary && s.Improving >= e.config.ProbationEpochs
	old := s.Age >= e.config.MaxAgeEpochs
	switch {
	case !e.commandable(s):
		return opNone, ""
	case s.Regressing >= regressionEpochs:
		return opCull, causeRegression
	case wish == actCull:
		return opCull, causeAsked
	case wish == actPause && old:
		return opCull, causeAge
	case wish == actPause:
		return opNone, ""
	case improved:
		return opFossilize, causeGain
	case wish == actKeep: // bars has seen to its gain
		return opFossilize, causeAsked
	case old && !s.Paused && !s.Hold.Out:
		return opCull, causeAge
	default:
		return opNone, ""
	}
}

// commandable says whether a seed command would be taken: none is without a
// blueprint and a mesh.
func (e *evaluation) commandable(s seed) bool {
	return s.Blueprint != "" && len(e.state.HostLayers) > 0
}

func (e *evaluation) order(s seed, op operation, cause string) seed {
	if s.Pending.Operation != op {
		s.Pending = pending{Operation: op}
	}
	s.Pending.Since, s.Pending.At = e.record.Evaluated, e.now.UnixMilli()
	s.Pending.Attempts = min(s.Pending.Attempts+1, maxAttempts)
	if op == opCull {
		s.Cause = cause
	}
	command := e.seedCommand(s, op, cause)
	if op == opGerminate {
		s.Germination = command.GetCommandId()
	}
	e.issue(command, s.Blueprint)
	return s
}
