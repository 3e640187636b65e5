package kasmina

import (
	"crypto/sha256"
	"encoding/base64"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/internal/gate"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// command carries a verified command out. A refused one leaves no trace in the
// record; a repetition, and one that was overtaken, are acknowledged quietly.
func (st *step) command(command *leyline.AdaptationCommand) *RejectedError {
	repeated, rejected := st.repeated(command)
	if rejected != nil {
		return rejected
	}
	if repeated {
		return nil
	}
	if rejected := st.dispatch(command); rejected != nil {
		return rejected
	}
	st.d.Stats.Accepted = 1
	if !st.quiet {
		st.remember(command)
	}
	return nil
}

// dispatch finds what a command asks for.
func (st *step) dispatch(command *leyline.AdaptationCommand) *RejectedError {
	switch kind := command.GetCommandType(); {
	case kind == leyline.CommandType_COMMAND_SEED && command.GetSeedOperation() != nil:
		return st.seedCommand(command)
	case kind == leyline.CommandType_COMMAND_PAUSE:
		return st.pauseCommand(command)
	case kind == leyline.CommandType_COMMAND_ROLLBACK:
		return st.endByCommand(command, rollbackTarget(command), reasonRolledBack, trainer.Rollback)
	case kind == leyline.CommandType_COMMAND_STRUCTURAL_PRUNING:
		return st.endByCommand(command, command.GetTargetSeedId(), reasonPruned, trainer.Drop)
	case kind == leyline.CommandType_COMMAND_OPTIMIZER:
		return st.optimizerCommand(command)
	case kind == leyline.CommandType_COMMAND_CIRCUIT_BREAKER && command.GetCircuitBreaker() != nil:
		return st.breakerCommand(command)
	case kind == leyline.CommandType_COMMAND_EMERGENCY:
		return st.emergencyCommand(command)
	default:
		rejected := refuse(command, ReasonUnsupportedCommand, levelWarning).because(kind.String())
		rejected.event = "unsupported_command"
		return rejected
	}
}

// repeated says whether a command was accepted before. Another one of the same
// id is a replay; one that may have been forgotten is stale.
func (st *step) repeated(command *leyline.AdaptationCommand) (bool, *RejectedError) {
	id, content := digests(command)
	for i := range st.r.Commands {
		known := &st.r.Commands[i]
		switch {
		case known.ID != id:
		case known.Content == content:
			return true, nil
		default:
			return false, refuse(command, ReasonNonceReplayed, levelCritical)
		}
	}
	if issuedAt(command) <= st.r.Floor {
		return false, refuse(command, ReasonStaleCommand, levelWarning).because("issued before a command that was forgotten")
	}
	return false, nil
}

// remember keeps an accepted command for as long as it counts as fresh.
func (st *step) remember(command *leyline.AdaptationCommand) {
	id, content := digests(command)
	oldest := st.now.plus(-st.r.patience() - clockSkew)
	list := without(st.r.Commands, func(a acceptance) bool {
		if a.Issued < oldest {
			st.r.Floor = max(st.r.Floor, a.Issued) // fresh again should its trainer report less often
		}
		return a.Issued < oldest
	})
	list = appended(list, acceptance{ID: id, Content: content, Issued: issuedAt(command)}, math.MaxInt32)
	evicted := max(0, len(list)-st.config.MaxCommands)
	for _, forgotten := range list[:evicted] {
		st.r.Floor = max(st.r.Floor, forgotten.Issued)
	}
	st.r.Commands = list[evicted:]
	st.changed = true
	if evicted > 0 {
		st.d.Stats.Evicted = evicted
		st.event("nonce_ledger_truncated", levelWarning, "removed", number(evicted), "size", number(len(st.r.Commands)))
	}
}

// digests tell a command's id and all of it. The signature covers all of it.
func digests(command *leyline.AdaptationCommand) (id, content string) {
	signed := []byte(command.GetAnnotations()[signing.SignatureAnnotation])
	if len(signed) == 0 {
		signed, _ = signing.CommandBytes(command)
	}
	return shortDigest([]byte(command.GetCommandId())), shortDigest(signed)
}

func shortDigest(text []byte) string {
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

func issuedAt(command *leyline.AdaptationCommand) millis {
	if command.GetIssuedAt() == nil {
		return 0
	}
	return momentOf(command.GetIssuedAt().AsTime())
}

// left makes an order carry what is left of its command's deadline.
func (st *step) left(command *leyline.AdaptationCommand) pending {
	p := pending{Reason: "command", Policy: bounded(command.GetAnnotations()[annotationPolicy])}
	if deadline := deadlineOf(command); deadline > 0 {
		p.Until = issuedAt(command).plus(deadline)
		p.Deadline = max(p.Until.since(st.now), time.Millisecond).Milliseconds()
	}
	return p
}

// overtaken says whether a later command for the seed came first, and otherwise
// notes that this is the latest.
func (st *step) overtaken(s *seed, command *leyline.AdaptationCommand) bool {
	if issuedAt(command) < s.Issued {
		st.quiet = true
		return true
	}
	s.Issued = st.heard(command)
	return false
}

// heard is when a command was issued, as far as it overtakes others: what a peer dates ahead
// of its coming must not hold back what is said until then.
func (st *step) heard(command *leyline.AdaptationCommand) millis {
	return min(issuedAt(command), st.now)
}

func (st *step) seedCommand(command *leyline.AdaptationCommand) *RejectedError {
	order, fault := st.config.readSeedOrder(command)
	if fault != nil {
		rejected := refuse(command, fault.reason, levelError).because(fault.detail)
		rejected.event = "command_validation_failed"
		return rejected
	}
	if buried := st.tombstoneOf(order.seedID); buried != nil && issuedAt(command) < buried.Issued {
		st.quiet = true
		return nil
	}
	s := st.r.find(order.seedID)
	if s != nil && issuedAt(command) < s.Issued {
		st.quiet = true
		return nil
	}
	if order.operation == leyline.SeedOperation_SEED_OP_GERMINATE {
		return st.germinate(command, &order)
	}
	return st.operate(command, &order, s)
}

// runCommand checks what concerns a run as a whole. A command without a run is
// for every run that there is.
func (st *step) runCommand(command *leyline.AdaptationCommand) *RejectedError {
	switch {
	case st.r.Run == "":
		return refuse(command, ReasonMissingTrainingRunID, levelError)
	case len(st.r.Run) > maxIDLength:
		return refuse(command, ReasonIdentifierTooLong, levelError)
	default:
		return nil
	}
}

func (st *step) pauseCommand(command *leyline.AdaptationCommand) *RejectedError {
	if rejected := st.runCommand(command); rejected != nil {
		return rejected
	}
	id := strings.TrimSpace(command.GetTargetSeedId())
	if id == "" {
		return refuse(command, ReasonMissingSeedID, levelWarning)
	}
	s, resumes := st.r.find(id), trainer.IsTrue(command.GetAnnotations()[annotationResume])
	switch {
	case s == nil:
		return refuse(command, ReasonUnknownSeed, levelWarning)
	case st.overtaken(s, command):
		return nil
	case !lifecycle.Cullable(s.Stage) && (!resumes || s.Stage != lifecycle.Fossilized):
		return refuse(command, ReasonStageMismatch, levelWarning).because(s.Stage.String()) // what is kept is a layer like any other
	}
	name := bounded(command.GetCommandId())
	own, lifts := pausesOf(command)
	if resumes {
		s.Paused &^= lifts
		st.seedEvent(s, "seed_resumed", levelInfo, "blueprint_id", s.Blueprint, "command_id", name)
	} else {
		s.Paused |= own
		st.seedEvent(s, "seed_paused", levelWarning, "command_id", name)
	}
	order, waiting := st.left(command), st.pendingOf(s.ID, classPause)
	if own == pausedByOperator && waiting != nil && outlasts(&order, waiting) {
		st.forgetOrders(s.ID, classPause) // it would be given up with what was asked for before
	}
	st.syncPause(s, order)
	return nil
}

// pausesOf are the pause that is whoever's who issued a command, and those that are theirs to
// lift. The controller knows of its own alone, and what may be its own it must be able to end;
// anybody else has a say in all but an emergency.
func pausesOf(command *leyline.AdaptationCommand) (own, lifts pauseCause) {
	if command.GetIssuedBy() == issuedByTamiyo {
		return pausedByController, pausedByController | pausedByEither
	}
	return pausedByOperator, pausedByCommand | pausedByIsolation
}

// rollbackTarget is the seed before which a trainer is to go back.
func rollbackTarget(command *leyline.AdaptationCommand) string {
	id := command.GetRollbackPayload().GetFields()["seed_id"].GetStringValue()
	if strings.TrimSpace(id) == "" {
		return command.GetTargetSeedId()
	}
	return id
}

// endByCommand takes the seed of an id out, wherever it is on its way; ending is
// the order by which one that is attached goes. A seed is all that a command to
// prune can name: the contract gives it no payload.
func (st *step) endByCommand(
	command *leyline.AdaptationCommand, id, reason string, ending trainer.Kind,
) *RejectedError {
	if rejected := st.runCommand(command); rejected != nil {
		return rejected
	}
	if id = strings.TrimSpace(id); id == "" {
		return refuse(command, ReasonMissingSeedID, levelWarning)
	}
	s := st.r.find(id)
	if s == nil {
		return refuse(command, ReasonUnknownSeed, levelWarning)
	}
	if st.overtaken(s, command) {
		return nil
	}
	st.changed = true
	if !s.attached() {
		ending = trainer.Drop // there is nothing to go back to yet
	}
	st.end(s, reason, levelInfo, ending)
	return nil
}

func (st *step) optimizerCommand(command *leyline.AdaptationCommand) *RejectedError {
	adjustment := command.GetOptimizerAdjustment()
	if rejected := st.runCommand(command); rejected != nil {
		return rejected
	}
	t := &st.r.Trainer
	switch {
	case t.ID == "":
		return refuse(command, ReasonNoTrainer, levelInfo)
	case !slices.Contains(t.Accepts, string(trainer.Optimizer)):
		return refuse(command, ReasonNotAccepted, levelInfo)
	case len(adjustment.GetOptimizerId()) > maxIDLength || len(adjustment.GetHyperparameters()) > gate.MaxParameters:
		return refuse(command, ReasonInvalidOptimizer, levelWarning)
	case issuedAt(command) < st.r.Optimizer:
		st.quiet = true
		return nil
	}
	for name, value := range adjustment.GetHyperparameters() {
		if name == "" || len(name) > maxIDLength || value-value != 0 {
			return refuse(command, ReasonInvalidOptimizer, levelWarning).because(bounded(name))
		}
	}
	st.r.Optimizer = st.heard(command)
	p := st.left(command)
	p.Kind, p.Optimizer, p.Parameters = trainer.Optimizer, adjustment.GetOptimizerId(), adjustment.GetHyperparameters()
	st.ask(p)
	st.event("optimizer_adjust", levelInfo, "command_type", command.GetCommandType().String(),
		"optimizer_id", p.Optimizer, "command_id", bounded(command.GetCommandId()))
	return nil
}

func (st *step) breakerCommand(command *leyline.AdaptationCommand) *RejectedError {
	if rejected := st.runCommand(command); rejected != nil {
		return rejected
	}
	if st.fresh {
		return refuse(command, ReasonNoTrainer, levelInfo)
	}
	if issuedAt(command) < st.r.Forced {
		st.quiet = true
		return nil
	}
	wanted := command.GetCircuitBreaker().GetDesiredState()
	if !st.r.Breaker.force(wanted, st.now) {
		rejected := refuse(command, ReasonInvalidBreakerState, levelWarning).because(wanted.String())
		rejected.event = "breaker_command_invalid"
		return rejected
	}
	st.r.Forced = st.heard(command)
	st.event("breaker_event", levelWarning, "seed_id", "kasmina", "breaker_state", st.r.Breaker.state().String(),
		"action", "forced", "reason", bounded(command.GetCircuitBreaker().GetRationale()))
	return nil
}
