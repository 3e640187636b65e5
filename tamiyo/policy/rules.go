package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
)

// Reasons of a RejectedError, as they appear in telemetry.
const (
	ReasonInvalid    = "invalid_update"
	ReasonTooLarge   = "payload_too_large"
	ReasonStale      = "stale_update"
	ReasonFuture     = "issued_in_future"
	ReasonReplayed   = "replayed_update"
	ReasonSuperseded = "superseded_update" // another policy's is newer
	ReasonVersion    = "version_mismatch"  // it has no version of its own
	ReasonMissing    = "payload_missing"   // nothing is where the update refers to
	ReasonMismatch   = "payload_mismatch"  // something else is

	ReasonUnusable      = "payload_unusable" // it is no network that can be evaluated
	ReasonNotShadowed   = "not_shadowed"     // it is to be activated, and is not in the shadow
	ReasonNotCompared   = "not_compared"     // likewise, and nothing was decided beside it there
	ReasonNothingBefore = "nothing_before"   // it is to be rolled back, and nothing decided before
)

// RejectedError says that a policy update was refused for good. The message
// that carried it should be acknowledged: it will never become acceptable.
type RejectedError struct {
	Reason   string
	PolicyID string
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("policy update %q rejected: %s", e.PolicyID, e.Reason)
}

// rejection is the refusal of an update, or nil.
func (s *Store) rejection(update *leyline.PolicyUpdate, size int, now time.Time) error {
	if reason := s.refusal(update, size, now); reason != "" {
		return &RejectedError{Reason: reason, PolicyID: update.GetPolicyId()}
	}
	return nil
}

// refusal returns the first reason against an update with a payload of that size, or
// empty. The checks that can never change with time come first.
func (s *Store) refusal(update *leyline.PolicyUpdate, size int, now time.Time) string {
	if update == nil || update.GetIssuedAt() != nil && !update.GetIssuedAt().IsValid() {
		return ReasonInvalid
	}
	if proto.Size(update)-len(update.GetPayload()) > maxMetadata {
		return ReasonInvalid
	}
	if size > s.config.MaxPayload {
		return ReasonTooLarge
	}
	if reason := s.untimely(update, now); reason != "" {
		return reason
	}
	switch {
	case s.journal.Newer(update):
		return ""
	case s.journal.Last.PolicyID == update.GetPolicyId():
		return ReasonReplayed
	default:
		return ReasonSuperseded
	}
}

// maxMetadata bounds what an update says beside its payload, in bytes: each instance tells the
// others of several, time after time.
const maxMetadata = 4096

// maxVersion bounds a version, in bytes: decisions name it in full.
const maxVersion = 128

// Unfit is the reason for which every store of this configuration refuses a policy of that version
// and size in bytes, whatever it keeps; empty when there is none.
func (c Config) Unfit(version string, size int) string {
	switch c = c.withDefaults(); {
	case size > c.MaxPayload:
		return ReasonTooLarge
	case c.Rules == "" || version == "": // not looked at; and one without a version is stored, and cannot decide
		return ""
	case strings.TrimSpace(version) == "" || len(version) > maxVersion || version == c.Rules:
		return ReasonVersion
	}
	return ""
}

// misnamed says whether the version of a payload does not tell it from all others that are
// known. One without a version can be kept, and not decide.
func (s *Store) misnamed(version, digest string) bool {
	if s.config.Rules == "" || version == "" {
		return false
	}
	if s.config.Unfit(version, 0) != "" {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.journal.Known(), func(policy *accepted.Update) bool {
		return policy.Digest != digest && policy.Metadata.GetTamiyoPolicyVersion() == version
	})
}

// untimely bounds the age of an update both ways, by the clock that it may have been dated by: this
// machine's or that of the bus. A future one is refused even without a freshness limit: accepting
// it would lock out every update issued until then.
func (s *Store) untimely(update *leyline.PolicyUpdate, now time.Time) string {
	reason := s.untimelyAt(update, now)
	if reason != "" && s.untimelyAt(update, s.config.Now()) == "" {
		return ""
	}
	return reason
}

func (s *Store) untimelyAt(update *leyline.PolicyUpdate, now time.Time) string {
	age := now.Sub(accepted.IssuedAt(update))
	if age < -s.config.ClockSkew {
		return ReasonFuture
	}
	if s.config.Freshness > 0 && age > s.config.Freshness {
		return ReasonStale
	}
	return ""
}
