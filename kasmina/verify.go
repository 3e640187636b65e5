package kasmina

import (
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/trainer"
)

// issuedByTamiyo is who issues commands beside trainer.IssuedBy.
const issuedByTamiyo = "tamiyo"

// Verify checks a command in the contract's order: signature, identifier,
// freshness, and last its execution deadline. Whether it is a repetition is for
// Decide to find, which knows the run. It returns nil for a good command.
func (c *Core) Verify(command *leyline.AdaptationCommand, now time.Time) *RejectedError {
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
	case age > freshnessWindow:
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
		Ours: by == issuedByTamiyo || by == trainer.IssuedBy,
	}
}

func (e *RejectedError) because(detail string) *RejectedError {
	e.Detail = detail
	return e
}
