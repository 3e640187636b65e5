package kasmina

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// RejectedError tells that a command was understood and refused. It stays
// refused: the caller acknowledges it and does not try again. No state changed.
type RejectedError struct {
	CommandID string
	SeedID    string
	Reason    string // one of the Reason constants
	Detail    string // what exactly, may be empty
	Ours      bool   // issued by Tamiyo, Kasmina or an operator's esperctl, not by a stranger

	event string // the telemetry event's description, empty for command_rejected
	level leyline.TelemetryLevel
}

func (e *RejectedError) Error() string {
	text := fmt.Sprintf("command %.128q rejected: %s", e.CommandID, e.Reason)
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// Untimely reports whether the command was refused for the time of its issue.
func (e *RejectedError) Untimely() bool {
	return e.Reason == ReasonIssuedInFuture || e.Reason == ReasonStaleCommand || e.Reason == ReasonDeadlineExceeded
}

// Reasons for which a command is refused. Reasons explains them.
const (
	ReasonVerifierUnavailable = "verifier_unavailable"
	ReasonMissingSignature    = "missing_signature"
	ReasonInvalidSignature    = "invalid_signature"
	ReasonMissingCommandID    = "missing_command_id"
	ReasonNonceReplayed       = "nonce_replayed"
	ReasonMissingTimestamp    = "missing_timestamp"
	ReasonIssuedInFuture      = "issued_in_future"
	ReasonStaleCommand        = "stale_command"
	ReasonDeadlineExceeded    = "deadline_exceeded"
	ReasonIdentifierTooLong   = "identifier_too_long"

	ReasonMissingSeedID        = "missing_seed_id"
	ReasonMissingBlueprintID   = "missing_blueprint_id"
	ReasonMissingTrainingRunID = "missing_training_run_id"
	ReasonMissingMeshLayers    = "missing_mesh_layers"
	ReasonInvalidMeshLayers    = "invalid_mesh_layers"
	ReasonMissingLogits        = "missing_confidence_logits"
	ReasonInvalidBlend         = "invalid_blend"
	ReasonInvalidSchedule      = "invalid_schedule"
	ReasonInvalidPromotion     = "invalid_promotion"
	ReasonInvalidOptimizer     = "invalid_optimizer"

	ReasonNoTrainer            = "no_trainer"
	ReasonUnknownSlot          = "unknown_slot"
	ReasonNotAccepted          = "not_accepted"
	ReasonEmergency            = "emergency"
	ReasonUnsupportedCommand   = "unsupported_command"
	ReasonUnsupportedOperation = "unsupported_seed_operation"
	ReasonUnknownSeed          = "unknown_seed"
	ReasonSeedLive             = "seed_live"
	ReasonSeedEmbargoed        = "seed_embargoed"
	ReasonSeedPaused           = "seed_paused"
	ReasonStageMismatch        = "stage_mismatch"
	ReasonGateFailed           = "gate_failed"
	ReasonNotEarned            = "not_earned"
	ReasonTooManySeeds         = "too_many_seeds"
	ReasonBreakerOpen          = "breaker_open"
	ReasonFallbackKernel       = "fallback_kernel_used"
	ReasonInvalidBreakerState  = "breaker_command_invalid"
	ReasonPreflight            = "sanity_gate_failed"
)

// ReasonText is what one of the Reason constants means.
type ReasonText struct{ Reason, Meaning string }

// Reasons explains all reasons for which a command is refused: it is not to be believed,
// is not complete, or asks for what cannot be.
func Reasons() []ReasonText { return slices.Clone(reasonTexts) }

var reasonTexts = []ReasonText{
	{ReasonVerifierUnavailable, "There is nothing to verify signatures with."},
	{ReasonMissingSignature, "It is not signed."},
	{ReasonInvalidSignature, "Its signature is not that of its content."},
	{ReasonMissingCommandID, "It has no id."},
	{ReasonNonceReplayed, "Another command of the same id was accepted before."},
	{ReasonMissingTimestamp, "It does not say when it was issued."},
	{ReasonIssuedInFuture, "It was issued more than 5 s from now."},
	{ReasonStaleCommand, "It was issued longer ago than a minute and than five reports of its run take, " +
		"or before a command of the run that was forgotten."},
	{ReasonDeadlineExceeded, "It came later after its issue than its execution deadline allows."},

	{ReasonIdentifierTooLong, "An id in it is longer than 128 bytes."},
	{ReasonMissingSeedID, "It names no seed."},
	{ReasonMissingBlueprintID, "It names no blueprint, which each operation on a seed must do, CULL too."},
	{ReasonMissingTrainingRunID, "It names no run."},
	{ReasonMissingMeshLayers, "A germination that names no layers of the host."},
	{ReasonInvalidMeshLayers, "Its layers of the host are no list of names, or too many."},
	{ReasonMissingLogits, "A blend by confidence without logits."},
	{ReasonInvalidBlend, "Its blend is not understood, or does not fit the slot."},
	{ReasonInvalidSchedule, "Its ramp is not understood."},
	{ReasonInvalidPromotion, "Its rules of promotion are not understood, or contradict each other."},
	{ReasonInvalidOptimizer, "Its adjustment of the optimizer has a value that is no number, or too many or too long names."},
	{ReasonInvalidBreakerState, "It asks for a state that a circuit cannot be put into."},
	{ReasonUnsupportedCommand, "A type of command that is unknown, or lacks what it is about."},
	{ReasonUnsupportedOperation, "An operation on seeds that is unknown."},

	{ReasonNoTrainer, "The run is unknown, or has no trainer that grows."},
	{ReasonUnknownSlot, "The trainer has no such slot, or none at all."},
	{ReasonNotAccepted, "The trainer takes no orders of this kind."},
	{ReasonEmergency, "Nothing germinates in an emergency."},
	{ReasonUnknownSeed, "The run has no such seed."},
	{ReasonSeedLive, "A seed of this name lives, and is another."},
	{ReasonSeedEmbargoed, "A seed of this name was culled, and its embargo is not over."},
	{ReasonSeedPaused, "A seed that is paused moves on to no stage."},
	{ReasonStageMismatch, "The seed is in another stage than it would have to be."},
	{ReasonGateFailed, "The seed does not pass the gate on the way."},
	{ReasonNotEarned, "The seed has not earned its place, or is paused."},
	{ReasonTooManySeeds, "The run has as many seeds as it may, or no room in its record for one more."},
	{ReasonBreakerOpen, "The circuit of the run's kernel requests is open."},
	{ReasonFallbackKernel, "It asks for a stand-in for the kernel."},
	{ReasonPreflight, "The germination does not pass gate G0."},
}

// Reasons for which a seed ends, besides those of the gates and those of
// trainer.AttachFailure.
const (
	reasonPrefetchTimeout = "prefetch_timeout"
	reasonBlueprint       = "blueprint_mismatch"
	reasonChecksum        = "invalid_checksum"
	reasonGuard           = "guard_mismatch"
	reasonFormat          = "kernel_format"
	reasonUnreadable      = "artifact_unreadable"
	reasonRestarted       = "trainer_restarted"
	reasonRemoved         = "removed_by_host"
	reasonWithoutEffect   = "order_without_effect"
	reasonRetired         = "retired"
	reasonWithdrawn       = "withdrawn"
	reasonRolledBack      = "rolled_back"
	reasonTakenAlong      = "rolled_back_with_another"
	reasonPruned          = "pruned"
)

// reasonAhead is why a seed moves on without a gate: its trainer has it further on than the
// record, which is older.
const reasonAhead = "trainer_ahead"

// Who issues commands beside trainer.IssuedBy. An operator is told at once what came of one.
const (
	issuedByTamiyo   = "tamiyo"
	issuedByOperator = "esperctl"
)

// Verify checks a command in the contract's order: signature, identifier,
// freshness, and last its execution deadline. A command may be as old as a few reports of
// its run take, which its record tells; without one, a minute. Whether it is a repetition
// is for Decide to find. It returns nil for a good command.
func (c *Core) Verify(record *Record, command *leyline.AdaptationCommand, now time.Time) *RejectedError {
	if rejected := c.verifySignature(command); rejected != nil {
		rejected.Ours = false // who signed it wrongly may claim anything
		return rejected
	}
	if len(command.GetCommandId()) > maxIDLength {
		return refuse(command, ReasonIdentifierTooLong, levelError)
	}
	if !command.GetIssuedAt().IsValid() {
		return refuse(command, ReasonMissingTimestamp, levelCritical)
	}
	age := now.Sub(command.GetIssuedAt().AsTime())
	deadline := deadlineOf(command)
	switch {
	case -age > clockSkew:
		return refuse(command, ReasonIssuedInFuture, levelError)
	case age > record.patience():
		return refuse(command, ReasonStaleCommand, levelCritical)
	case deadline > 0 && age > deadline:
		return refuse(command, ReasonDeadlineExceeded, levelWarning)
	default:
		return nil
	}
}

func (c *Core) verifySignature(command *leyline.AdaptationCommand) *RejectedError {
	if c.config.Keyring == nil {
		return refuse(command, ReasonVerifierUnavailable, levelError)
	}
	err := c.config.Keyring.VerifyCommand(command)
	switch {
	case errors.Is(err, signing.ErrMissingSignature):
		return refuse(command, ReasonMissingSignature, levelCritical)
	case err != nil:
		return refuse(command, ReasonInvalidSignature, levelCritical)
	case command.GetCommandId() == "":
		return refuse(command, ReasonMissingCommandID, levelError)
	default:
		return nil
	}
}

// deadlineOf is how long after its issue a command may be carried out; 0: no bound.
func deadlineOf(command *leyline.AdaptationCommand) time.Duration {
	return time.Duration(command.GetExecutionDeadlineMs()) * time.Millisecond
}

func refuse(command *leyline.AdaptationCommand, reason string, level leyline.TelemetryLevel) *RejectedError {
	by := command.GetIssuedBy()
	return &RejectedError{
		CommandID: command.GetCommandId(), SeedID: command.GetTargetSeedId(), Reason: reason, level: level,
		Ours: by == issuedByTamiyo || by == issuedByOperator || by == trainer.IssuedBy,
	}
}

func (e *RejectedError) because(detail string) *RejectedError {
	e.Detail = detail
	return e
}
