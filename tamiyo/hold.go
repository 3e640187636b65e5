package tamiyo

import (
	"cmp"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// maxResumes is how often a seed is resumed in vain: after that it is somebody else who keeps
// it out of the output, unless Kasmina tells that it is us.
const maxResumes = 3

// hold is what a seed's trainer tells of its place in the output, and since when that is not
// what we asked for.
type hold struct {
	Out      bool   `json:"out,omitempty"`
	Since    uint64 `json:"since,omitempty"` // 0: it is as asked, or none of ours
	At       int64  `json:"at_ms,omitempty"`
	Attempts int    `json:"attempts,omitempty"` // that have had no effect
}

// shows takes what the trainer tells of a seed that we want out, or not. One that is out though
// we asked for nothing is somebody else's matter.
func (h hold) shows(out, wanted bool, evaluated uint64, now int64) hold {
	switch h.Out = out; {
	case out == wanted:
		return hold{Out: out}
	case h.Since == 0 && wanted:
		h.Since, h.At = evaluated, now
	}
	return h
}

// rests says whether a seed is out of the output, whoever asked for that.
func rests(state *leyline.SeedState) bool { return state.GetMetrics()[trainer.MetricPaused] >= 1 }

// held says whether a seed is out of the output at our command, as Kasmina knows it.
func held(e *evaluation, s seed) bool { return slices.Contains(e.state.Held, s.ID) }

// unheeded says whether a seed's PAUSE, or its end, should have shown and does not: it was
// refused, or lost, or lifted by somebody else.
func unheeded(e *evaluation, s seed) bool {
	return s.Hold.Since > 0 && s.Hold.Out != s.Paused && passed(e, s.Hold.Since, s.Hold.At, e.config.EffectTime)
}

// commanded notes that a seed is told to leave the output, or to come back.
func (s seed) commanded(out bool, e *evaluation) seed {
	if s.Paused != out {
		s.Hold.Attempts = 0
	}
	s.Paused = out
	s.Hold.Since, s.Hold.At = e.record.Evaluated, e.now.UnixMilli()
	s.Hold.Attempts = min(s.Hold.Attempts+1, maxAttempts)
	return s
}

// pause asks for a seed to leave the output: for a rule, or else for a policy.
func (e *evaluation) pause(s seed, forRule bool) seed {
	s = s.commanded(true, e)
	cause := causeAsked
	if forRule {
		e.pausedBy = cmp.Or(e.verdict.Reason, e.record.Conservative.Reason, causeConservative)
		cause = e.pausedBy
	}
	e.issue(e.pauseCommand(s, cause), s.Blueprint)
	return s
}

func (e *evaluation) resume(s seed) seed {
	s = s.commanded(false, e)
	command := e.pauseCommand(s, causePolicy)
	command.Annotations["resume"] = "true"
	e.issue(command, s.Blueprint)
	return s
}
