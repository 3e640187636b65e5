package kasmina

import (
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/trainer"
)

// compare brings the seeds and a report together.
func (st *step) compare(rc *reading) {
	for _, s := range slices.Clone(st.r.Seeds) {
		e := rc.entries[s.ID]
		switch {
		case s.Stage == lifecycle.Embargoed:
			st.compareEnded(s, e)
		case s.Stage == lifecycle.Germinated:
			st.compareGerminated(s, e, rc)
		case s.attached():
			st.compareAttached(s, e, rc)
		}
	}
	adopted := st.compareUnknown(rc)
	if rc.rebuilt && adopted > 0 {
		st.event("record_rebuilt", levelWarning, "seeds", number(adopted), "trainer_id", rc.report.TrainerID)
	}
}

// compareEnded waits for a culled seed to be gone. Only then are its violations
// over.
func (st *step) compareEnded(s *seed, e *entry) {
	s.Listed = e != nil && !e.failed
	if !s.Listed {
		s.Isolation = isolation{}
		return
	}
	if st.pendingOf(s.ID, classEnd) == nil {
		st.askEnd(trainer.Drop, pending{Seed: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Reason: "still listed"})
	}
}

// compareGerminated waits for the attach that was ordered.
func (st *step) compareGerminated(s *seed, e *entry, rc *reading) {
	s.Listed = false
	asked := st.pendingOf(s.ID, classStage)
	switch {
	case asked == nil && s.Wait == nil && (e == nil || !e.attached()): // there was no room for the order
		st.askStage(s, lifecycle.Training, pending{Reason: "germinated"})
		s.AttachOrder = s.Order
	case e == nil:
	case asked == nil:
		// No attach was ordered: what is there is a predecessor, and must be gone
		// before the attach.
		if e.attached() && st.pendingOf(s.ID, classEnd) == nil {
			st.askEnd(trainer.Drop, pending{Seed: s.ID, Blueprint: s.Blueprint, Slot: s.Slot, Reason: "predecessor"})
		}
	case rc.adopting:
		if e.attached() && sameKernel(s, rc.report.Grafts[s.ID]) {
			st.walk(s, e, rc)
		}
	case e.order < asked.First: // a predecessor
	case e.failed:
		st.attachFailed(s, e.failure)
	case e.stage == lifecycle.Training:
		st.confirm(s, e)
	case e.attached() && e.order > rc.known:
		st.walk(s, e, rc)
	case e.attached():
		st.mismatch(s, e)
	}
}

// compareAttached follows a seed that is in the model.
func (st *step) compareAttached(s *seed, e *entry, rc *reading) {
	predecessor := e != nil && !rc.adopting && e.order < s.AttachOrder
	switch {
	case e == nil || !e.attached() || predecessor:
		s.Listed = false
		st.end(s, st.whyGone(rc), levelWarning, "")
	case e.stage < s.Stage, rc.adopting && !sameKernel(s, rc.report.Grafts[s.ID]):
		st.reincarnate(s, e, rc)
	case e.stage == s.Stage:
		if rc.adopting {
			s.AttachOrder = min(s.AttachOrder, e.order)
		}
		st.measure(s, e)
	case rc.adopting, e.order > rc.known:
		st.walk(s, e, rc)
	case e.stage == s.Target:
		st.confirm(s, e)
	default:
		st.mismatch(s, e)
	}
}

// whyGone tells a seed that went with another's rollback from one that another process does
// not have, and from one that the same process took out by itself: that one may have harmed.
func (st *step) whyGone(rc *reading) string {
	for i := range st.r.Pending {
		p := &st.r.Pending[i]
		whole := p.Kind == trainer.Rollback || p.Stage == lifecycle.Terminated
		if classOf(p.Kind) == classEnd && whole && p.First <= rc.orderRead {
			return reasonTakenAlong
		}
	}
	if rc.adopting {
		return reasonRestarted
	}
	return reasonRemoved
}

// sameKernel says whether a graft holds the seed's own kernel, as far as both
// sides tell.
func sameKernel(s *seed, g trainer.Graft) bool {
	return g.Checksum == "" || s.Kernel.Checksum == "" || strings.EqualFold(g.Checksum, s.Kernel.Checksum)
}

// mismatch culls a seed that went where nobody ordered it: the graft has no way back.
func (st *step) mismatch(s *seed, e *entry) {
	s.Listed = true
	st.settleGate(s, gate.Failed(gate.Interface, gate.StageMismatch,
		"expected_stage", s.Stage.String(), "telemetry_stage", e.stage.String()))
}

// confirm moves a seed to the stage that its trainer has applied.
func (st *step) confirm(s *seed, e *entry) {
	s.hear(e)
	attaching := s.Stage == lifecycle.Germinated
	if attaching {
		st.attachConfirmed(s)
	}
	st.forgetOrders(s.ID, classStage)
	if !st.move(s, e.stage, "") {
		return
	}
	s.Target = lifecycle.Unknown
	st.measure(s, e)
}

// walk takes a seed along the table to where its trainer has it: the record is
// older than the trainer.
func (st *step) walk(s *seed, e *entry, rc *reading) {
	s.hear(e)
	if s.Stage == lifecycle.Germinated {
		st.attachConfirmed(s)
	}
	st.forgetOrders(s.ID, classStage)
	for s.Stage < e.stage {
		if !st.move(s, s.Stage+1, reasonAhead) {
			return
		}
	}
	s.Target = lifecycle.Unknown
	if rc.adopting {
		s.AttachOrder = min(s.AttachOrder, e.order)
	}
	st.measure(s, e)
}

// reincarnate ends a seed that is not what it was, and takes what is there for
// a new one of its name.
func (st *step) reincarnate(s *seed, e *entry, rc *reading) {
	s.Listed = false
	issued := s.Issued
	st.end(s, st.whyGone(rc), levelWarning, "")
	if s.Stage == lifecycle.Embargoed {
		s.Isolation = isolation{}
		st.release(s)
	}
	st.adopt(s.ID, e, rc)
	if heir := st.r.find(s.ID); heir != nil {
		heir.Issued = issued
	}
}

// compareUnknown takes in what the trainer has and the record does not, or has
// it removed. It returns how many seeds were taken in.
func (st *step) compareUnknown(rc *reading) (adopted int) {
	drops := 0
	for _, id := range rc.listed {
		e := rc.entries[id]
		if !e.attached() || st.r.find(id) != nil {
			continue
		}
		newer := rc.adopting || e.order > rc.known
		if newer && st.tombstoneOf(id) == nil && len(st.r.Seeds) < st.config.MaxSeeds {
			st.adopt(id, e, rc)
			adopted++
			continue
		}
		if st.pendingOf(id, classEnd) != nil || drops >= maxDropsAtOnce {
			continue
		}
		drops++
		graft := rc.report.Grafts[id]
		st.askEnd(trainer.Drop, pending{
			Seed: id, Blueprint: bounded(graft.Blueprint), Slot: bounded(graft.Slot), Reason: "unknown seed",
		})
	}
	return adopted
}

// adopt takes in a seed that the trainer has grafted.
func (st *step) adopt(id string, e *entry, rc *reading) {
	graft := rc.report.Grafts[id]
	s := &seed{
		ID: id, Blueprint: graft.Blueprint, Slot: graft.Slot, Schedule: st.config.Schedule,
		Stage: e.stage, Order: e.order, AttachOrder: min(graft.Order, e.order),
		Kernel:   kernelState{Checksum: strings.ToLower(graft.Checksum)},
		Progress: evidence.NewProgress(),
	}
	switch {
	case st.r.Emergency.Level >= pausingLevel:
		s.Paused = pausedByEmergency
	case rc.rebuilt && e.paused: // an operator may have taken it out
		s.Paused = pausedByEither
	}
	s.hear(e)
	st.forgetOrders(id, classStage, classPause, classEnd)
	st.r.Seeds = append(st.r.Seeds, s)
	st.seedEvent(s, "seed_adopted", levelInfo, "stage", e.stage.String(), "blueprint_id", s.Blueprint, "slot", s.Slot)
	st.measure(s, e)
}
