package kasmina

import (
	"fmt"

	"github.com/esper-lite/weatherlight/leyline"
)

// RejectedError tells that a command was understood and refused. It stays
// refused: the caller acknowledges it and does not try again. No state changed.
type RejectedError struct {
	CommandID string
	SeedID    string
	Reason    string // one of the Reason constants
	Detail    string // what exactly, may be empty
	Ours      bool   // issued by Tamiyo or Kasmina, not by a stranger

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

// Reasons for which a command is refused.
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

// Reasons for which a seed ends, besides those of the gates and those of
// trainer.AttachFailure.
const (
	reasonMeshIncomplete  = "mesh_incomplete"
	reasonResidence       = "residence_exceeded"
	reasonImpactUnknown   = "impact_unknown"
	reasonForwardFault    = "seed_forward_error"
	reasonPrefetchTimeout = "prefetch_timeout"
	reasonBlueprint       = "blueprint_mismatch"
	reasonChecksum        = "invalid_checksum"
	reasonGuard           = "guard_mismatch"
	reasonFormat          = "kernel_format"
	reasonUnreadable      = "artifact_unreadable"
	reasonStageMismatch   = "stage_mismatch"
	reasonRestarted       = "trainer_restarted"
	reasonWithoutEffect   = "order_without_effect"
	reasonRetired         = "retired"
	reasonWithdrawn       = "withdrawn"
	reasonRolledBack      = "rolled_back"
)
