package kasmina

import (
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// attached says whether a seed is in the model as far as its trainer has told.
func (s *seed) attached() bool {
	return s.Stage >= lifecycle.Training && s.Stage <= lifecycle.Fossilized
}

// move takes a seed to a stage and tells of it: of the gate too that it passed on the
// way, or failed for this reason. A move that the table does not have is not made.
func (st *step) move(s *seed, to leyline.SeedLifecycleStage, reason string) bool {
	if err := lifecycle.Transition(s.Stage, to); err != nil {
		st.seedEvent(s, "seed_transition_refused", levelError, "error", err.Error())
		return false
	}
	moved := []string{"from", s.Stage.String(), "slot", s.Slot, "reason", bounded(reason)}
	if s.Gate.Gate != 0 && s.Gate.Reason == reason {
		moved = append(moved, "gate", s.Gate.Gate.String())
	}
	s.Stage, s.Progress, s.Earned = to, evidence.NewProgress(), false
	st.emit(s, moved...)
	return true
}

// rules are what a seed must show to move on.
func (st *step) rules(s *seed) promotion.Rules {
	if s.Promotion != nil {
		return *s.Promotion
	}
	return st.config.Promotion
}

// subject is what the gates see of a seed.
func (st *step) subject(s *seed) gate.Subject {
	t := &st.r.Trainer
	return gate.Subject{
		Stage: s.Stage, Blueprint: s.Blueprint, Parameters: s.Parameters,
		Attached: s.attached() || s.Listed, Leaking: s.Isolation.Leaking, Violations: s.Isolation.Failures,
		Progress: &s.Progress, Rules: st.rules(s),
		GradientTold: t.Gradient, MaxGradient: st.config.MaxGradientNorm,
		LatencyMS: st.config.LatencyBudgetMS, MaxSpread: maxForwardSpread,
		HostPresent: t.ID != "", HostLayers: t.Layers, RequiredLayers: s.Mesh, InterfaceError: st.misfit(s),
	}
}

// passGate evaluates a gate and reports it; a seed that fails it is culled.
func (st *step) passGate(s *seed, asked leyline.SeedLifecycleGate) bool {
	return st.settleGate(s, gate.Evaluate(asked, st.subject(s)))
}

// settleGate reports a gate's result and culls the seed that failed it.
func (st *step) settleGate(s *seed, result gate.Result) bool {
	st.noteGate(s, result)
	if result.Passed {
		return true
	}
	if result.Reason == gate.MeshIncomplete {
		st.seedEvent(s, "mesh_coverage_missing", levelError, result.Attributes...)
	}
	st.seedEvent(s, "gate_failure", levelOfFailure(result.Reason), "gate", result.Gate.String(), "reason", result.Reason)
	st.cull(s, result.Reason, levelWarning, trainer.Drop)
	return false
}

// levelOfFailure is CRITICAL where a kernel could not be had or was not the one
// announced, and where a seed is not where it was ordered to be.
func levelOfFailure(reason string) leyline.TelemetryLevel {
	switch reason {
	case gate.StageMismatch, reasonChecksum, reasonGuard, reasonPrefetchTimeout,
		trainer.AttachMismatch.Reason(), trainer.AttachUnreachable.Reason(), trainer.AttachInvalid.Reason(),
		trainer.AttachUnsigned.Reason():
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
	st.seedEvent(s, "rollback_ready", level, "stage", from.String(), "reason", reason)
	if st.noteEnded(s, reason); !st.move(s, lifecycle.Culled, reason) {
		return
	}
	s.Embargo = embargo{Until: st.now.plus(st.config.Embargo)}
	st.move(s, lifecycle.Embargoed, reason)
}

// terminate ends a kept seed.
func (st *step) terminate(s *seed, reason string, ending trainer.Kind) {
	st.detach(s, reason)
	if ending != "" {
		st.askEnd(ending, pending{
			Seed: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Stage: lifecycle.Terminated, Reason: reason, Policy: s.Policy,
		})
	}
	st.seedEvent(s, "rollback_ready", levelInfo, "stage", lifecycle.Fossilized.String(), "reason", reason)
	if st.noteEnded(s, reason); st.move(s, lifecycle.Terminated, reason) {
		st.forget(s)
	}
}

// noteEnded remembers why a seed ended, which is more than its embargo does.
func (st *step) noteEnded(s *seed, reason string) {
	st.d.Stats.Culls = append(st.d.Stats.Culls, reason)
	gone := endedSeed{
		Seed: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Stage: s.Stage, Reason: bounded(reason), At: st.now,
	}
	st.r.Ended = appended(st.r.Ended, gone, maxEnded)
	if older := len(st.r.Ended) - maxShown; older > 0 {
		last := &st.r.Ended[older-1]
		last.Blueprint, last.Slot = "", "" // why it ended is all that is asked of it now
	}
}

// withoutOld are the seeds that ended, at the next report. Those that did some reports ago
// are let go: by now all who miss one have asked why.
func withoutOld(ended []endedSeed) []endedSeed {
	older := len(ended) - maxShown
	if older <= 0 {
		return ended
	}
	var kept []endedSeed
	for _, gone := range ended[:older] {
		if gone.Reports++; gone.Reports < endedReports {
			kept = append(kept, gone)
		}
	}
	return append(kept, ended[older:]...)
}

// end takes a seed out, wherever it is on its way.
func (st *step) end(s *seed, reason string, level leyline.TelemetryLevel, ending trainer.Kind) {
	switch {
	case s.Stage == lifecycle.Fossilized:
		st.terminate(s, reason, ending)
	case lifecycle.Cullable(s.Stage):
		st.cull(s, reason, level, ending)
	}
}

// detach is on every way out: the wait for the kernel ends, and nothing more is
// asked of the seed.
func (st *step) detach(s *seed, reason string) {
	st.cancelWait(s, reason)
	if s.Stage == lifecycle.Germinated {
		st.r.Breaker.abandon()
	}
	st.forgetOrders(s.ID, classStage, classPause, classEnd)
	s.Paused, s.Target = 0, lifecycle.Unknown
}

// forget takes a seed out of the record. What was issued before its last
// command stays without effect.
func (st *step) forget(s *seed) {
	st.addTombstone(s.ID, s.Issued)
	st.r.Seeds = without(st.r.Seeds, func(other *seed) bool { return other == s })
	st.changed = true
}

// addTombstone leaves a tombstone for as long as a command that was issued before may come.
// What was issued before one that is taken away stays refused, however seldom the run is reported then.
func (st *step) addTombstone(id string, issued millis) {
	patience := st.r.patience() + clockSkew
	if issued == 0 {
		return
	}
	rest := without(st.r.Tombstones, func(t tombstone) bool {
		over := !t.holds(st.now, patience)
		if over {
			st.r.Floor = max(st.r.Floor, t.Issued)
		}
		return over || t.Seed == id
	})
	st.r.Tombstones = appended(rest, tombstone{Seed: id, Issued: issued, Until: st.now.plus(patience)}, maxTombstones)
	st.changed = true
}

// tombstoneOf finds what holds an id, nil when nothing does any more.
func (st *step) tombstoneOf(id string) *tombstone {
	for i := range st.r.Tombstones {
		if t := &st.r.Tombstones[i]; t.Seed == id && t.holds(st.now, st.r.patience()+clockSkew) {
			return t
		}
	}
	return nil
}

// holds says whether a command that was issued before may still come: by what was known of
// its trainer's reports when the tombstone was left, or by what is known now.
func (t *tombstone) holds(now millis, patience time.Duration) bool {
	return now <= max(t.Until, t.Issued.plus(patience))
}

// maxEmbargoDoublings bounds how long an embargo grows when the reset fails.
const maxEmbargoDoublings = 7

// release ends an embargo: G5 looks, then the seed is reset and leaves. One that
// does not pass stays for another embargo.
func (st *step) release(s *seed) {
	if !st.resets(s) {
		s.Embargo.Until = st.now.plus(st.config.Embargo << min(s.Embargo.Failures, maxEmbargoDoublings))
		s.Embargo.Failures++
		st.seedEvent(s, "gate_failure", levelWarning, "gate", gate.Reset.String(), "reason", s.Gate.Reason)
		return
	}
	st.move(s, lifecycle.Resetting, "")
	s.Isolation = isolation{}
	st.move(s, lifecycle.Dormant, "")
	st.forget(s)
}

func (st *step) resets(s *seed) bool {
	result := gate.Evaluate(gate.Reset, st.subject(s))
	st.noteGate(s, result)
	return result.Passed
}

// releaseDue ends the embargoes that are over.
func (st *step) releaseDue() {
	for _, s := range append([]*seed(nil), st.r.Seeds...) {
		if s.Stage != lifecycle.Embargoed || st.r.unheard(s) {
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
	if !s.attached() {
		return
	}
	if s.Stage == lifecycle.Fossilized { // a layer like any other
		s.Paused = 0
		if !s.Out {
			st.forgetOrders(s.ID, classPause)
			return
		}
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

// unheard says that only its trainer's next report can end a seed's embargo: it was
// there last, and the trainer has fallen silent.
func (r *Record) unheard(s *seed) bool { return s.Listed && r.Trainer.Silent }

// share is a seed's share in the output: as reported, or as its stage has it.
func (s *seed) share() float64 {
	switch {
	case !lifecycle.Blends(s.Stage):
		return 0
	case s.Listed:
		return float64(s.Alpha)
	case s.Stage == lifecycle.Blending:
		return s.Schedule.At(s.AlphaSteps)
	default:
		return 1
	}
}

// hear takes how far a seed's ramp has come.
func (s *seed) hear(e *entry) {
	s.Listed, s.AlphaSteps = true, e.steps
	switch {
	case e.alpha.Finite():
		s.Alpha = float32(min(max(e.alpha, 0), 1))
	case e.stage == lifecycle.Blending:
		s.Alpha = float32(s.Schedule.At(e.steps))
	default:
		s.Alpha = flag(lifecycle.Blends(e.stage))
	}
}

// ramped says that a seed's share has come to the end of its ramp. The share that is
// told counts as well: after a record was lost, the ramp is not the seed's own.
func (s *seed) ramped() bool {
	end := s.Schedule.At(s.Schedule.WarmUp + s.Schedule.Steps)
	return s.Schedule.Done(s.AlphaSteps) && float64(s.Alpha) >= end-roundedShare
}

// roundedShare is what a trainer may lose of a share by rounding.
const roundedShare = 1e-3

// tune lets the whole network train on, with every seed that is kept, once none is on
// its way into the output.
func (st *step) tune() {
	var kept []*seed
	for _, s := range st.r.Seeds {
		if s.Stage == lifecycle.Fossilized {
			kept = append(kept, s)
		}
		blending := s.Stage >= lifecycle.Blending && s.Stage <= lifecycle.Probationary
		if blending || s.Stage == lifecycle.Training && s.Target == lifecycle.Blending && st.pendingOf(s.ID, classStage) != nil {
			st.r.Tuned = false
			return
		}
	}
	if len(kept) == 0 || st.r.Tuned {
		return
	}
	st.r.Tuned = true
	for _, s := range kept {
		st.askSeed(s, trainer.Tune, pending{Reason: "kept"})
	}
}
