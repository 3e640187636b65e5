package kasmina

import (
	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

// measure takes what a report shows of a seed in its stage, and decides on it.
func (st *step) measure(s *seed, e *entry) {
	s.hear(e)
	s.Out = e.paused
	s.Age++
	if s.Stage == lifecycle.Training && e.seen.HostGradient.Known() {
		st.r.Trainer.Gradient = true
	}
	kept := s.Stage == lifecycle.Fossilized
	if !kept && !st.checkIsolation(s, e) {
		return
	}
	st.syncPause(s, pending{Reason: "level"})
	if s.Paused != 0 || s.Out {
		return
	}
	rules := st.rules(s)
	s.Progress.Note(e.seen, rules.PlateauGain)
	if kept {
		st.noteFaults(s, e, levelCritical) // only a command can end it
		return
	}
	st.noteFaults(s, e, levelWarning)
	if s.Stage == lifecycle.Shadowing || s.Stage == lifecycle.Probationary {
		s.Progress.NoteGains(e.seen)
	}
	st.apply(s, gate.Judge(st.subject(s), s.ramped()))
}

func (st *step) noteFaults(s *seed, e *entry, level leyline.TelemetryLevel) {
	if e.seen.Faults.Known() && e.seen.Faults != 0 {
		st.seedEvent(s, "seed_forward_error", level, "faults", e.seen.Faults.String())
	}
}

// apply carries a verdict out.
func (st *step) apply(s *seed, v gate.Verdict) {
	switch {
	case v.Cull != nil:
		st.settleGate(s, *v.Cull)
	case v.To == lifecycle.Unknown:
		s.Earned = false
	case v.To == lifecycle.Fossilized && !st.config.AutoFossilize:
		s.Earned = true
	case st.pendingOf(s.ID, classStage) != nil:
		s.Earned = s.Earned || v.To == lifecycle.Fossilized
	default:
		s.Earned = v.To == lifecycle.Fossilized
		st.promote(s, v)
	}
}

// promote orders a seed on when it passes the gates on the way.
func (st *step) promote(s *seed, v gate.Verdict) {
	for _, gate := range v.Gates {
		if !st.passGate(s, gate) {
			return
		}
	}
	st.askStage(s, v.To, pending{Reason: "promoted"})
}

// isolationThreshold is how many violations open a seed's isolation breaker, and
// isolationSuccesses how many clean reports in the output close it.
const (
	isolationThreshold = 3
	isolationSuccesses = 2
)

// checkIsolation counts a violation or a clean report. The first violations
// pause the seed until a report is clean, the last culls it; it reports false
// then.
func (st *step) checkIsolation(s *seed, e *entry) bool {
	if e.seen.Violates(st.config.MaxGradientCosine) {
		return st.noteViolation(s)
	}
	guard := &s.Isolation
	guard.Leaking = false
	switch {
	case s.Paused&pausedByIsolation != 0:
		if s.Out {
			s.Paused &^= pausedByIsolation
			st.seedEvent(s, "seed_resumed", levelInfo, "blueprint_id", s.Blueprint, "reason", "isolation")
		}
	case guard.Failures > 0 && !s.Out:
		if guard.Clean++; guard.Clean >= isolationSuccesses {
			*guard = isolation{}
			st.noteIsolation(s, circuitClosed, "transition", "stabilised")
		}
	}
	return true
}

func (st *step) noteViolation(s *seed) bool {
	guard := &s.Isolation
	guard.Leaking, guard.Clean = true, 0
	guard.Failures++
	st.r.Violations++
	st.leaks++
	st.d.Stats.Violations++
	open := guard.Failures >= isolationThreshold
	level, state, action := levelWarning, circuitClosed, "count"
	if open {
		level, state, action = levelCritical, circuitOpen, "transition"
	}
	st.noteIsolation(s, state, action, "isolation_violation")
	st.seedEvent(s, "violation_recorded", level, "violations", number(guard.Failures))
	if open {
		st.passGate(s, gate.Gradient)
		return false
	}
	if s.Paused&pausedByIsolation == 0 {
		s.Paused |= pausedByIsolation
		st.seedEvent(s, "seed_paused", levelWarning, "reason", "isolation")
	}
	return true
}

func (st *step) noteIsolation(s *seed, state leyline.CircuitBreakerState, action, reason string) {
	level := levelInfo
	switch {
	case state == circuitOpen:
		level = levelCritical
	case reason == "isolation_violation":
		level = levelWarning
	}
	st.seedEvent(s, "isolation_breaker", level, "component", "isolation", "breaker_state", state.String(),
		"action", action, "reason", reason)
}
