package kasmina

import (
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// attached says whether a seed is in the model as far as its trainer has told.
func (s *seed) attached() bool { return s.Stage >= stageTraining && s.Stage <= stageFossilized }

// move takes a seed to a stage and tells of it. A move that the table does not
// have is not made.
func (st *step) move(s *seed, to leyline.SeedLifecycleStage) bool {
	if err := Transition(s.Stage, to); err != nil {
		st.note(s, "seed_transition_refused", levelError, "error", err.Error())
		return false
	}
	s.Stage, s.Progress, s.Earned = to, newProgress(), false
	st.emit(s)
	return true
}

// rules are what a seed must show to move on.
func (st *step) rules(s *seed) Promotion {
	if s.Promotion != nil {
		return st.config.Promotion.over(*s.Promotion)
	}
	return st.config.Promotion
}

// subject is what the gates see of a seed.
func (st *step) subject(s *seed) gateSubject {
	t := &st.r.Trainer
	return gateSubject{
		stage: s.Stage, blueprintID: s.Blueprint, parameters: s.Parameters,
		attached: s.attached() || s.Listed, leaking: s.Isolation.Leaking, violations: s.Isolation.Failures,
		progress: &s.Progress, promotion: st.rules(s),
		gradientTold: t.Gradient, maxGradient: st.config.MaxGradientNorm,
		latencyMS: st.config.LatencyBudgetMS, maxSpread: st.config.MaxForwardSpread,
		hostPresent: t.ID != "", hostLayers: t.Layers, requiredLayers: s.Mesh, interfaceError: st.misfit(s),
	}
}

// passGate evaluates a gate and reports it; a seed that fails it is culled.
func (st *step) passGate(s *seed, gate leyline.SeedLifecycleGate) bool {
	return st.settleGate(s, evaluateGate(gate, st.subject(s)))
}

// settleGate reports a gate's result and culls the seed that failed it.
func (st *step) settleGate(s *seed, result GateResult) bool {
	st.noteGate(s, result)
	if result.Passed {
		return true
	}
	if result.Reason == reasonMeshIncomplete {
		st.note(s, "mesh_coverage_missing", levelError, result.Attributes...)
	}
	st.note(s, "gate_failure", levelOfFailure(result.Reason), "gate", result.Gate.String(), "reason", result.Reason)
	st.cull(s, result.Reason, levelWarning, trainer.Drop)
	return false
}

// levelOfFailure is CRITICAL where a kernel could not be had or was not the one
// announced, and where a seed is not where it was ordered to be.
func levelOfFailure(reason string) leyline.TelemetryLevel {
	switch reason {
	case reasonStageMismatch, reasonChecksum, reasonGuard, reasonPrefetchTimeout,
		"checksum_mismatch", "artifact_unreadable", "kernel_invalid":
		return levelCritical
	default:
		return levelWarning
	}
}

// cull takes a seed out of the model and puts it under embargo. ending is the
// order by which it goes, empty when the trainer no longer has it.
func (st *step) cull(s *seed, reason string, level leyline.TelemetryLevel, ending trainer.Kind) {
	from, listed := s.Stage, s.Listed || s.Order > 0
	st.detach(s, reason)
	if ending != "" && listed {
		st.askEnd(ending, pending{Seed: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Reason: reason, Policy: s.Policy})
	}
	st.note(s, "rollback_ready", level, "stage", from.String(), "reason", reason)
	st.d.Stats.Culls = append(st.d.Stats.Culls, reason)
	if !st.move(s, stageCulled) {
		return
	}
	s.Embargo = embargo{Until: st.now.plus(st.config.Embargo)}
	st.move(s, stageEmbargoed)
}

// terminate ends a kept seed.
func (st *step) terminate(s *seed, reason string, ending trainer.Kind) {
	st.detach(s, reason)
	if ending != "" {
		st.askEnd(ending, pending{
			Seed: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Stage: stageTerminated, Reason: reason, Policy: s.Policy,
		})
	}
	st.note(s, "rollback_ready", levelInfo, "stage", stageFossilized.String(), "reason", reason)
	st.d.Stats.Culls = append(st.d.Stats.Culls, reason)
	if st.move(s, stageTerminated) {
		st.forget(s)
	}
}

// end takes a seed out, wherever it is on its way.
func (st *step) end(s *seed, reason string, level leyline.TelemetryLevel, ending trainer.Kind) {
	switch {
	case s.Stage == stageFossilized:
		st.terminate(s, reason, ending)
	case cullable(s.Stage):
		st.cull(s, reason, level, ending)
	}
}

// detach is on every way out: the wait for the kernel ends, and nothing more is
// asked of the seed.
func (st *step) detach(s *seed, reason string) {
	st.cancelWait(s, reason)
	if s.Stage == stageGerminated && s.Order > 0 {
		st.r.Breaker.abandon()
	}
	st.forgetOrders(s.ID, classStage, classPause, classEnd)
	s.Paused, s.Target = 0, stageUnknown
}

// forget takes a seed out of the record. What was issued before its last
// command stays without effect.
func (st *step) forget(s *seed) {
	st.bury(s.ID, s.Issued)
	st.r.Seeds = without(st.r.Seeds, func(other *seed) bool { return other == s })
	st.changed = true
}

// bury leaves a tombstone for as long as a command that was issued before may come.
func (st *step) bury(id string, issued millis) {
	until := st.now.plus(st.config.FreshnessWindow + st.config.ClockSkew)
	if issued == 0 {
		return
	}
	rest := without(st.r.Tombstones, func(t tombstone) bool { return t.Seed == id || t.Until < st.now })
	st.r.Tombstones = appended(rest, tombstone{Seed: id, Issued: issued, Until: until}, maxTombstones)
	st.changed = true
}

// tombstoneOf finds what holds an id, nil when nothing does any more.
func (st *step) tombstoneOf(id string) *tombstone {
	for i := range st.r.Tombstones {
		if t := &st.r.Tombstones[i]; t.Seed == id && st.now <= t.Until {
			return t
		}
	}
	return nil
}

// maxEmbargoDoublings bounds how long an embargo grows when the reset fails.
const maxEmbargoDoublings = 7

// release ends an embargo: G5 looks, then the seed is reset and leaves. One that
// does not pass stays for another embargo.
func (st *step) release(s *seed) {
	if !st.resets(s) {
		s.Embargo.Until = st.now.plus(st.config.Embargo << min(s.Embargo.Failures, maxEmbargoDoublings))
		s.Embargo.Failures++
		st.note(s, "gate_failure", levelWarning, "gate", gateReset.String(), "reason", s.Gate.Reason)
		return
	}
	st.move(s, stageResetting)
	s.Isolation = isolation{}
	st.move(s, stageDormant)
	st.forget(s)
}

func (st *step) resets(s *seed) bool {
	result := evaluateGate(gateReset, st.subject(s))
	st.noteGate(s, result)
	return result.Passed
}

// releaseDue ends the embargoes that are over.
func (st *step) releaseDue() {
	for _, s := range append([]*seed(nil), st.r.Seeds...) {
		if s.Stage != stageEmbargoed {
			continue
		}
		if s.Embargo.Withdrawn && !s.Listed && st.pendingOf(s.ID, classEnd) == nil || st.now >= s.Embargo.Until {
			st.release(s)
		}
	}
}

// syncPause asks the trainer to take a seed out of the output or to put it
// back, when it is not as it should be.
func (st *step) syncPause(s *seed, p pending) {
	if !s.attached() || s.Stage == stageFossilized && s.Paused == 0 && !s.Out {
		return
	}
	wanted, kind := s.Paused != 0, trainer.Resume
	if wanted {
		kind = trainer.Pause
	}
	waiting := st.pendingOf(s.ID, classPause)
	switch {
	case waiting != nil && waiting.Kind == kind:
	case waiting == nil && s.Out == wanted:
	case s.Paused == pausedByEmergency && st.pendingOf("", classEmergency) != nil:
	default:
		st.askSeed(s, kind, p)
	}
}
