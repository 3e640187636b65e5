// Package accepted is about single updates of policies that a store accepted, and their order.
package accepted

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
)

// Update is one accepted update: its metadata without the payload, and where
// the payload is found.
type Update struct {
	Metadata   *leyline.PolicyUpdate // payload is always empty here
	Digest     string                // hex SHA-256 of the payload; empty for an announcement
	Size       int                   // bytes of the payload
	AcceptedAt time.Time
}

// Position is the place of an update in the order of all.
func (p Update) Position() Position { return PositionOf(p.Metadata) }

// New is an update that is accepted now.
func New(update *leyline.PolicyUpdate, now time.Time) Update {
	metadata := proto.CloneOf(update)
	metadata.Payload = nil
	policy := Update{Metadata: metadata, Size: len(update.GetPayload()), AcceptedAt: now.UTC()}
	if policy.Size > 0 {
		policy.Digest = payloads.Digest(update.GetPayload())
	}
	return policy
}

// Position orders all updates, whatever their policy ids: by time issued, then
// version, then id.
type Position struct {
	IssuedAt int64  `json:"issued_at_ns"`
	Version  uint32 `json:"version"`
	PolicyID string `json:"policy_id,omitempty"`
}

// PositionOf is the place of an update in that order.
func PositionOf(update *leyline.PolicyUpdate) Position {
	return Position{IssuedAt(update).UnixNano(), update.GetVersion(), update.GetPolicyId()}
}

// Compare is negative when p lies before the other, and 0 when both are one.
func (p Position) Compare(other Position) int {
	return cmp.Or(cmp.Compare(p.IssuedAt, other.IssuedAt), cmp.Compare(p.Version, other.Version),
		strings.Compare(p.PolicyID, other.PolicyID))
}

// IssuedAt reads a missing time as the oldest one, as the wire format does.
func IssuedAt(update *leyline.PolicyUpdate) time.Time {
	if update.GetIssuedAt() == nil {
		return time.Unix(0, 0).UTC()
	}
	return update.GetIssuedAt().AsTime()
}

// updateFile is an Update as it stands in active.json: the update in the JSON
// form of protobuf with the contract's own field names.
type updateFile struct {
	Update     json.RawMessage `json:"update"`
	Digest     string          `json:"digest,omitempty"`
	Size       int             `json:"size,omitempty"`
	AcceptedAt time.Time       `json:"accepted_at,omitzero"`
	AppliedAt  time.Time       `json:"applied_at,omitzero"` // the same, for and from the release before
}

// MarshalJSON writes the form that active.json holds.
func (p Update) MarshalJSON() ([]byte, error) {
	update, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p.Metadata)
	if err != nil {
		return nil, err
	}
	return json.Marshal(updateFile{
		Update: update, Digest: p.Digest, Size: p.Size, AcceptedAt: p.AcceptedAt, AppliedAt: p.AcceptedAt,
	})
}

// UnmarshalJSON reads the form that active.json holds.
func (p *Update) UnmarshalJSON(content []byte) error {
	var file updateFile
	if err := json.Unmarshal(content, &file); err != nil {
		return err
	}
	update := new(leyline.PolicyUpdate)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(file.Update, update); err != nil {
		return err
	}
	*p = Update{Metadata: update, Digest: file.Digest, Size: file.Size, AcceptedAt: cmp.Or(file.AcceptedAt, file.AppliedAt)}
	return nil
}
