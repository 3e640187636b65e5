package tamiyo

import (
	"cmp"
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

	// Why Kasmina ended a seed at a command that was not ours, or along with another one.
	causeRetired    = "retired"
	causeWithdrawn  = "withdrawn"
	causePruned     = "pruned"
	causeTakenAlong = "rolled_back_with_another"
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

// maxResumes is how often a seed is resumed in vain: after that it is somebody else who keeps
// it out of the output, unless Kasmina tells that it is us.
const maxResumes = 3

// held says whether a seed is out of the output at our command, as Kasmina knows it.
func held(e *evaluation, s seed) bool { return slices.Contains(e.state.Held, s.ID) }

// asked notes that a seed was asked to leave the output, or to come back.
func (s seed) asked(out bool, e *evaluation) seed {
	if s.Paused != out {
		s.Hold.Attempts = 0
	}
	s.Paused = out
	s.Hold.Since, s.Hold.At = e.record.Evaluated, e.now.UnixMilli()
	s.Hold.Attempts = min(s.Hold.Attempts+1, maxAttempts)
	return s
}

func (e *evaluation) pause(s seed) seed {
	s = s.asked(true, e)
	e.pausedBy = cmp.Or(e.verdict.Reason, e.record.Conservative.Reason, causeConservative)
	e.issue(e.pauseCommand(s, e.pausedBy), s.Blueprint)
	return s
}

func (e *evaluation) resume(s seed) seed {
	s = s.asked(false, e)
	command := e.pauseCommand(s, causePolicy)
	command.Annotations["resume"] = "true"
	e.issue(command, s.Blueprint)
	return s
}
