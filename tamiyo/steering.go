package tamiyo

import (
	"slices"

	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
)

// Why a command was given, as in the annotation risk_reason and in reports.
const (
	causePolicy     = "policy"
	causeStall      = "validation_stalled"
	causeGain       = "seed_improved"
	causeRegression = "seed_regressed"
	causeAge        = "seed_stuck"
	causeNoEffect   = "germination_without_effect"
	causeRestarted  = "trainer_restarted"

	causeConservative = "conservative_mode"
)

// regressionEpochs of loss in a row cull a seed.
const regressionEpochs = 2

// steerSeeds gives each living seed at most one command.
func (e *evaluation) steerSeeds() {
	for _, s := range slices.Clone(e.record.Seeds) {
		if !s.Ended && !s.awaited() {
			e.record.put(e.steer(s))
		}
	}
}

// steer looks at what is wrong before it looks at what is well.
func (e *evaluation) steer(s seed) seed {
	restrained := e.conservative() || e.verdict.Effect >= rules.Pause
	if s.Pending.waits() && !e.lapsed(s) {
		if !restrained || s.Pending.Operation != opFossilize {
			return s
		}
		s.Pending = pending{} // what is paused is not kept, and is asked for again
	}
	frozen := restrained || e.verdict.Effect >= rules.Freeze
	operation, cause := e.judge(s)
	switch {
	case operation == opCull:
		return e.order(s, opCull, cause)
	case e.state.Lives != nil && !e.state.Lives(s.ID):
		return s // it is on its way out, by Kasmina's order or by itself
	case restrained && pausable(s.Stage) && (!s.Paused || unheeded(e, s)):
		return e.pause(s)
	case !frozen && !e.record.Unrest.holds() && (s.Paused || unheeded(e, s) && (s.Hold.Attempts < maxResumes || held(e, s))):
		return e.resume(s)
	case !frozen && operation == opFossilize:
		return e.order(s, opFossilize, cause)
	default:
		return s
	}
}

// judge goes by the seed's record.
func (e *evaluation) judge(s seed) (operation, string) {
	improved := s.Stage == stageProbationary && s.Improving >= e.config.ProbationEpochs
	switch {
	case !e.commandable(s):
		return opNone, ""
	case s.Regressing >= regressionEpochs:
		return opCull, causeRegression
	case improved:
		return opFossilize, causeGain
	case s.Age >= e.config.MaxAgeEpochs && !s.Paused && !s.Hold.Out:
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
