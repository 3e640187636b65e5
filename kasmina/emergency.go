package kasmina

import (
	"cmp"
	"slices"
	"strings"

	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// pausingLevel is the emergency from which on seeds are out of the output.
const pausingLevel = leyline.EmergencyLevel_EMERGENCY_LEVEL_CONSERVATIVE

// emergencySignal acts on a signal once. A mild one is only told of.
func (st *step) emergencySignal(m Emergency) {
	if st.fresh && (m.Level < pausingLevel || m.Run == "" || len(m.Run) > maxIDLength) {
		return // there is no such run
	}
	if m.ID != "" && slices.Contains(st.r.Emergency.Known, bounded(m.ID)) {
		return
	}
	m.Level = min(m.Level, leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT) // there is nothing above
	level := levelWarning
	if m.Level >= pausingLevel {
		level = levelCritical
	}
	st.event("emergency_signal", level, "level", m.Level.String(), "reason", bounded(m.Reason),
		"origin", bounded(m.Origin), "emergency_id", bounded(m.ID), "training_run_id", st.r.Run)
	if m.ID != "" {
		st.r.Emergency.Known = appended(st.r.Emergency.Known, bounded(m.ID), maxEmergency)
	}
	if m.Level >= pausingLevel && m.Level > st.r.Emergency.Level {
		st.enterEmergency(m.Level, bounded(m.Reason))
	}
}

// emergencyCommand sets the run's emergency; a mild level lifts it.
func (st *step) emergencyCommand(command *leyline.AdaptationCommand) *RejectedError {
	if rejected := st.runCommand(command); rejected != nil {
		return rejected
	}
	if st.fresh {
		return refuse(command, ReasonNoTrainer, levelInfo)
	}
	issued := issuedAt(command)
	if issued < st.r.Emergency.Issued {
		st.quiet = true
		return nil
	}
	level := trainer.ReadLevel(command.GetAnnotations())
	st.r.Emergency.Issued = st.heard(command)
	includeTeacher := ""
	if trainer.IsTrue(command.GetAnnotations()[annotationIncludeTeacher]) {
		includeTeacher = "true"
	}
	id := bounded(command.GetCommandId())
	if level >= pausingLevel {
		st.event("emergency_cleanup", levelCritical, "include_teacher", includeTeacher, "level", level.String(),
			"command_id", id, "seeds", number(len(st.r.Seeds)))
		st.enterEmergency(level, cmp.Or(bounded(strings.TrimSpace(command.GetAnnotations()["reason"])), "command"))
		return nil
	}
	st.event("emergency_lifted", levelWarning, "level", level.String(), "command_id", id)
	st.leaveEmergency(level)
	return nil
}

// enterEmergency takes every seed out of the output by one order.
func (st *step) enterEmergency(level leyline.EmergencyLevel, reason string) {
	st.r.Emergency.Level, st.r.Emergency.Reason = level, reason
	st.changed = true
	st.ask(pending{Kind: trainer.Emergency, Level: level, Reason: reason})
	for _, s := range st.r.Seeds {
		if lifecycle.Cullable(s.Stage) {
			s.Paused |= pausedByEmergency
			st.seedEvent(s, "seed_paused", levelWarning, "reason", "emergency")
		}
	}
}

// leaveEmergency puts the seeds back, but for those that are paused for another reason.
func (st *step) leaveEmergency(level leyline.EmergencyLevel) {
	if st.r.Emergency.Level < pausingLevel && !st.r.Trainer.Halted {
		return
	}
	st.r.Emergency.Level, st.r.Emergency.Reason = level, ""
	st.changed = true
	st.ask(pending{Kind: trainer.Emergency, Level: level, Reason: "lifted"})
	for _, s := range st.r.Seeds {
		if s.Paused&pausedByEmergency == 0 {
			continue
		}
		s.Paused &^= pausedByEmergency
		st.seedEvent(s, "seed_resumed", levelInfo, "blueprint_id", s.Blueprint, "reason", "emergency")
		st.syncPause(s, pending{Reason: "emergency lifted"})
	}
}

// holdEmergency repeats an emergency to a trainer that does not show it, such as
// one that took the run over, and its end to one that still halts.
func (st *step) holdEmergency(rc *reading) {
	level := st.r.Emergency.Level
	halts := level >= leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	repeat := level >= pausingLevel && rc.adopting || halts != rc.halted
	if repeat && st.pendingOf("", classEmergency) == nil {
		st.ask(pending{Kind: trainer.Emergency, Level: level, Reason: st.r.Emergency.Reason})
	}
}

// adoptHalt takes a halt over that the record has lost: whoever wants it lifted
// says so.
func (st *step) adoptHalt(rc *reading) {
	halted := leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	lost := rc.rebuilt || rc.orderRead > rc.known
	if !rc.halted || !lost || st.r.Emergency.Level >= halted {
		return
	}
	st.r.Emergency.Level, st.r.Emergency.Reason = halted, "the trainer is halted"
	st.event("emergency_adopted", levelWarning, "level", halted.String(), "training_run_id", st.r.Run)
	for _, s := range st.r.Seeds {
		if lifecycle.Cullable(s.Stage) {
			s.Paused |= pausedByEmergency
		}
	}
}
