package kasmina

import (
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

type commandRequest struct{ command *leyline.AdaptationCommand }

func (r commandRequest) handle(m *Manager, done func(error)) {
	err := m.verify(r.command)
	if err == nil {
		err = m.dispatch(r.command)
	}
	m.noteRejection(err)
	done(err)
}

// noteRejection counts a refusal and queues its event. Repetitions of the same
// refusal share one event with a count.
func (m *Manager) noteRejection(err error) {
	rejected, ok := errors.AsType[*RejectedError](err)
	if !ok {
		return
	}
	m.rejected[rejected.Reason]++
	event := rejected.event
	if event == "" {
		event = "command_rejected"
	}
	m.global.addCounted(event+"/"+rejected.Reason, event, rejected.level,
		"reason", rejected.Reason, "command_id", rejected.CommandID,
		"seed_id", rejected.SeedID, "detail", rejected.Detail)
}

// dispatch carries out a verified command.
func (m *Manager) dispatch(cmd *leyline.AdaptationCommand) error {
	switch {
	case cmd.GetCommandType() == leyline.CommandType_COMMAND_SEED && cmd.GetSeedOperation() != nil:
		return m.seedCommand(cmd)
	case cmd.GetCommandType() == leyline.CommandType_COMMAND_PAUSE:
		return m.pauseCommand(cmd)
	case cmd.GetCommandType() == leyline.CommandType_COMMAND_CIRCUIT_BREAKER && cmd.GetCircuitBreaker() != nil:
		return m.breakerCommand(cmd)
	case cmd.GetCommandType() == leyline.CommandType_COMMAND_OPTIMIZER:
		m.noteGlobal("optimizer_adjust", levelInfo, "command_type", cmd.GetCommandType().String(),
			"optimizer_id", cmd.GetOptimizerAdjustment().GetOptimizerId(), "command_id", cmd.GetCommandId())
		return nil
	case cmd.GetCommandType() == leyline.CommandType_COMMAND_EMERGENCY:
		return m.emergencyCommand(cmd)
	default:
		rejected := refuse(cmd, ReasonUnsupportedCommand, levelWarning)
		rejected.event, rejected.Detail = "unsupported_command", cmd.GetCommandType().String()
		return rejected
	}
}

func (m *Manager) seedCommand(cmd *leyline.AdaptationCommand) error {
	order, fault := readSeedOrder(cmd)
	if fault != nil {
		rejected := refuse(cmd, fault.reason, levelError)
		rejected.event, rejected.Detail = "command_validation_failed", fault.detail
		return rejected
	}
	if order.operation == leyline.SeedOperation_SEED_OP_GERMINATE {
		return m.germinate(cmd, order)
	}
	return m.operate(cmd, order)
}

// operate carries out an operation on a seed that exists.
func (m *Manager) operate(cmd *leyline.AdaptationCommand, order seedOrder) error {
	s := m.find(order.seedID)
	if s == nil && ends(order.operation) {
		return refuse(cmd, ReasonUnknownSeed, levelWarning)
	}
	switch order.operation {
	case leyline.SeedOperation_SEED_OP_CULL:
		noteOperation(s, cmd, order)
		m.retire(s)
		return nil
	case leyline.SeedOperation_SEED_OP_CANCEL:
		noteOperation(s, cmd, order)
		m.withdraw(s)
		return nil
	case leyline.SeedOperation_SEED_OP_FOSSILIZE:
		return m.fossilize(cmd, order, s)
	default:
		rejected := refuse(cmd, ReasonUnsupportedOperation, levelWarning)
		rejected.event, rejected.Detail = "unsupported_seed_operation", number(int(order.operation))
		return rejected
	}
}

// ends reports operations that need a seed to end.
func ends(operation leyline.SeedOperation) bool {
	return !needsMesh(operation)
}

func noteOperation(s *seed, cmd *leyline.AdaptationCommand, order seedOrder) {
	s.events.add("seed_operation", levelInfo,
		"command_type", cmd.GetCommandType().String(), "operation", order.operation.String(),
		"seed_id", s.id, "blueprint_id", s.blueprintID, "command_id", order.commandID)
}

// retire culls a seed on command. A fossilised seed is terminated; one that is
// out already stays so.
func (m *Manager) retire(s *seed) {
	switch {
	case s.stage() == stageFossilized:
		m.terminate(s, reasonRetired)
	case cullable(s.stage()):
		m.cull(s, reasonRetired, levelInfo)
	}
}

// withdraw takes a germination back: nothing was wrong with the seed, so there
// is no embargo, and one that runs is lifted. What is fossilised is retired.
func (m *Manager) withdraw(s *seed) {
	m.retire(s)
	if s.stage() == stageEmbargoed {
		m.release(s)
	}
}

// fossilize keeps a seed for good, when it has earned it and its last evidence
// still holds.
func (m *Manager) fossilize(cmd *leyline.AdaptationCommand, order seedOrder, s *seed) error {
	if s.stage() != stageProbationary {
		rejected := refuse(cmd, ReasonStageMismatch, levelWarning)
		rejected.Detail = s.stage().String()
		return rejected
	}
	if !s.earned || s.paused {
		return refuse(cmd, ReasonNotEarned, levelWarning)
	}
	noteOperation(s, cmd, order)
	if m.passGate(s, gateImpact) {
		m.move(s, stageFossilized)
	}
	return nil
}

func (m *Manager) pauseCommand(cmd *leyline.AdaptationCommand) error {
	if cmd.GetTargetSeedId() == "" {
		return refuse(cmd, ReasonMissingSeedID, levelWarning)
	}
	s := m.find(cmd.GetTargetSeedId())
	if s == nil {
		return refuse(cmd, ReasonUnknownSeed, levelWarning)
	}
	if !cullable(s.stage()) && s.stage() != stageFossilized {
		return refuse(cmd, ReasonStageMismatch, levelWarning)
	}
	m.setPaused(s, !isTrue(cmd.GetAnnotations()[annotationResume]), cmd.GetCommandId())
	return nil
}

// setPaused takes a seed out of the output without moving it, or puts it back.
func (m *Manager) setPaused(s *seed, paused bool, commandID string) {
	s.paused = paused
	if s.attached {
		m.host.SetPaused(s.id, paused)
	}
	if paused {
		s.events.add("seed_paused", levelWarning, "seed_id", s.id, "command_id", commandID)
		return
	}
	s.events.add("seed_resumed", levelInfo, "seed_id", s.id, "blueprint_id", s.blueprintID,
		"cache", "hit", "command_id", commandID)
}

func (m *Manager) breakerCommand(cmd *leyline.AdaptationCommand) error {
	wanted := cmd.GetCircuitBreaker().GetDesiredState()
	if !m.breaker.force(wanted, time.Now()) {
		rejected := refuse(cmd, ReasonInvalidBreakerState, levelWarning)
		rejected.event, rejected.Detail = "breaker_command_invalid", wanted.String()
		return rejected
	}
	m.noteGlobal("breaker_event", levelWarning, "seed_id", "kasmina", "breaker_state", m.breaker.state.String(),
		"action", "forced", "reason", cmd.GetCircuitBreaker().GetRationale())
	return nil
}

// emergencyCommand reports: there is no cache to clear, and a seed is taken
// out by a command of its own.
func (m *Manager) emergencyCommand(cmd *leyline.AdaptationCommand) error {
	includeTeacher := "false"
	if isTrue(cmd.GetAnnotations()[annotationIncludeTeacher]) {
		includeTeacher = "true"
	}
	m.noteGlobal("emergency_cleanup", levelCritical, "include_teacher", includeTeacher,
		"kernel_cache_cleared", "0", "telemetry_cache_cleared", "0", "command_id", cmd.GetCommandId())
	return nil
}
