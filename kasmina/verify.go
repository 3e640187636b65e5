package kasmina

import (
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// verifierCounters count what the command verifier decided.
type verifierCounters struct {
	accepted  int64
	latencyMS float64 // of the last verification
}

// verify checks a command in the contract's order: signature, identifier,
// replay, freshness. The nonce is spent as soon as the signature is right and
// an identifier exists, whatever comes after. An error that is no
// *RejectedError means that the nonce could not be recorded.
func (m *Manager) verify(cmd *leyline.AdaptationCommand) error {
	started := time.Now()
	defer func() { m.verifier.latencyMS = milliseconds(time.Since(started)) }()
	if rejected := m.verifySignature(cmd); rejected != nil {
		return rejected
	}
	if m.ledger.replayed(cmd.GetCommandId(), started) {
		return refuse(cmd, ReasonNonceReplayed, levelCritical)
	}
	rejected := m.verifyFreshness(cmd, started)
	if err := m.spendNonce(cmd, rejected == nil, started); err != nil {
		return err
	}
	if rejected != nil {
		return rejected
	}
	m.verifier.accepted++
	return nil
}

func (m *Manager) verifySignature(cmd *leyline.AdaptationCommand) *RejectedError {
	if m.config.Keyring == nil {
		return refuse(cmd, ReasonVerifierUnavailable, levelError)
	}
	err := m.config.Keyring.VerifyCommand(cmd)
	switch {
	case errors.Is(err, signing.ErrMissingSignature):
		return refuse(cmd, ReasonMissingSignature, levelCritical)
	case err != nil:
		return refuse(cmd, ReasonInvalidSignature, levelCritical)
	case cmd.GetCommandId() == "":
		return refuse(cmd, ReasonMissingCommandID, levelError)
	default:
		return nil
	}
}

func (m *Manager) verifyFreshness(cmd *leyline.AdaptationCommand, now time.Time) *RejectedError {
	if !cmd.GetIssuedAt().IsValid() {
		return refuse(cmd, ReasonMissingTimestamp, levelCritical)
	}
	issued := cmd.GetIssuedAt().AsTime()
	switch {
	case issued.Sub(now) > m.config.ClockSkew:
		return refuse(cmd, ReasonIssuedInFuture, levelError)
	case now.Sub(issued) > m.config.FreshnessWindow, m.ledger.belowFloor(issued, now):
		return refuse(cmd, ReasonStaleCommand, levelCritical)
	default:
		return nil
	}
}

// spendNonce leaves out the time of issue of a command that is not fresh: one
// from the far future must not make all others stale when it is forgotten.
func (m *Manager) spendNonce(cmd *leyline.AdaptationCommand, fresh bool, now time.Time) error {
	var issued time.Time
	if fresh {
		issued = cmd.GetIssuedAt().AsTime()
	}
	removed, err := m.ledger.spend(cmd.GetCommandId(), issued, now)
	if err != nil {
		return err
	}
	if removed > 0 {
		m.noteGlobal("nonce_ledger_truncated", levelWarning,
			"removed", number(removed), "size", number(m.ledger.size()))
	}
	return nil
}

func refuse(cmd *leyline.AdaptationCommand, reason string, level leyline.TelemetryLevel) *RejectedError {
	return &RejectedError{CommandID: cmd.GetCommandId(), SeedID: cmd.GetTargetSeedId(), Reason: reason, level: level}
}
