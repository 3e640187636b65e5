package kasmina

import (
	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// operate carries out an operation on a seed that exists.
func (st *step) operate(command *leyline.AdaptationCommand, order *seedOrder, s *seed) *RejectedError {
	if s == nil {
		return st.operateUnknown(command, order)
	}
	s.Issued = max(s.Issued, st.heard(command))
	switch order.operation {
	case leyline.SeedOperation_SEED_OP_CULL:
		st.noteOperation(s, command, order)
		st.end(s, reasonRetired, levelInfo, trainer.Drop)
		return nil
	case leyline.SeedOperation_SEED_OP_CANCEL:
		st.noteOperation(s, command, order)
		st.withdraw(s)
		return nil
	case leyline.SeedOperation_SEED_OP_START_TRAINING:
		return st.goOn(command, order, s, lifecycle.Training, trainer.Train)
	case leyline.SeedOperation_SEED_OP_START_GRAFTING:
		return st.advance(command, order, s, lifecycle.Blending)
	case leyline.SeedOperation_SEED_OP_STABILIZE:
		return st.advance(command, order, s, lifecycle.Shadowing)
	case leyline.SeedOperation_SEED_OP_EVALUATE:
		return st.advance(command, order, s, lifecycle.Probationary)
	case leyline.SeedOperation_SEED_OP_FOSSILIZE:
		return st.fossilize(command, order, s)
	case leyline.SeedOperation_SEED_OP_FINE_TUNE:
		return st.goOn(command, order, s, lifecycle.Fossilized, trainer.Tune)
	default:
		return refuseOperation(command, order)
	}
}

func refuseOperation(command *leyline.AdaptationCommand, order *seedOrder) *RejectedError {
	rejected := refuse(command, ReasonUnsupportedOperation, levelWarning).because(number(int(order.operation)))
	rejected.event = "unsupported_seed_operation"
	return rejected
}

// operateUnknown leaves a tombstone for a seed that is to end before it is
// known: its germination may come later.
func (st *step) operateUnknown(command *leyline.AdaptationCommand, order *seedOrder) *RejectedError {
	switch order.operation {
	case leyline.SeedOperation_SEED_OP_CULL, leyline.SeedOperation_SEED_OP_CANCEL:
		st.addTombstone(order.seedID, issuedAt(command))
		return nil
	case leyline.SeedOperation_SEED_OP_UNKNOWN:
		return refuseOperation(command, order)
	default:
		return refuse(command, ReasonUnknownSeed, levelWarning)
	}
}

// withdraw takes a germination back: nothing was wrong with the seed, so there
// is no embargo, and one that runs is lifted. What is kept is retired.
func (st *step) withdraw(s *seed) {
	st.end(s, reasonWithdrawn, levelInfo, trainer.Drop)
	if s.Stage != lifecycle.Embargoed {
		return
	}
	s.Embargo.Withdrawn = true
	st.changed = true
	if !s.Listed && st.pendingOf(s.ID, classEnd) == nil {
		st.release(s)
	}
}

// goOn orders something of a seed that stays in its stage.
func (st *step) goOn(
	command *leyline.AdaptationCommand, order *seedOrder, s *seed, in leyline.SeedLifecycleStage, kind trainer.Kind,
) *RejectedError {
	if s.Stage != in {
		return refuse(command, ReasonStageMismatch, levelWarning).because(s.Stage.String())
	}
	if kind == trainer.Tune && st.blending() {
		return refuse(command, ReasonStageMismatch, levelWarning).because("another seed blends")
	}
	waiting := st.pendingOf(s.ID, classStage)
	if waiting != nil && waiting.Kind != kind {
		return refuse(command, ReasonStageMismatch, levelWarning).because("on its way to " + waiting.Stage.String())
	}
	st.noteOperation(s, command, order)
	if kind == trainer.Tune {
		st.r.Tuned = true
	}
	st.askSeed(s, kind, st.left(command))
	return nil
}

// blending says whether a seed is on its way into the output.
func (st *step) blending() bool {
	for _, s := range st.r.Seeds {
		if s.Stage >= lifecycle.Blending && s.Stage <= lifecycle.Probationary {
			return true
		}
	}
	return false
}

// advance orders a seed to the next stage however short its residence, when it
// passes the gates on the way.
func (st *step) advance(
	command *leyline.AdaptationCommand, order *seedOrder, s *seed, to leyline.SeedLifecycleStage,
) *RejectedError {
	waiting := st.pendingOf(s.ID, classStage)
	switch {
	case s.Stage == to || waiting != nil && waiting.Stage == to:
		return nil // it is there, or on its way
	case s.Stage+1 != to || !s.attached():
		return refuse(command, ReasonStageMismatch, levelWarning).because(s.Stage.String())
	case s.Paused != 0:
		return refuse(command, ReasonSeedPaused, levelWarning)
	}
	var results []gate.Result
	for _, asked := range gate.To(to) {
		result := gate.Evaluate(asked, st.subject(s))
		if !result.Passed {
			level, pairs := gateEvent(result)
			st.global.add("gate_event", level, append([]string{"seed_id", s.ID}, pairs...)...)
			return refuse(command, ReasonGateFailed, levelWarning).because(asked.String() + ": " + result.Reason)
		}
		results = append(results, result)
	}
	st.noteOperation(s, command, order)
	for _, result := range results {
		st.noteGate(s, result)
	}
	st.askStage(s, to, st.left(command))
	return nil
}

// fossilize keeps a seed for good, when it has earned it and its last evidence
// still holds.
func (st *step) fossilize(command *leyline.AdaptationCommand, order *seedOrder, s *seed) *RejectedError {
	if s.Stage == lifecycle.Probationary && (!s.Earned || s.Paused != 0) {
		return refuse(command, ReasonNotEarned, levelWarning)
	}
	return st.advance(command, order, s, lifecycle.Fossilized)
}
