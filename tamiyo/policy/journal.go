package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
)

const (
	journalName   = "active.json"
	payloadFolder = "payloads"
)

// Update is one accepted update: its metadata without the payload, and where
// the payload is found.
type Update struct {
	Metadata   *leyline.PolicyUpdate // payload is always empty here
	Digest     string                // hex SHA-256 of the payload; empty for an announcement
	Size       int                   // bytes of the payload
	AcceptedAt time.Time
}

func newUpdate(update *leyline.PolicyUpdate, now time.Time) Update {
	metadata := proto.CloneOf(update)
	metadata.Payload = nil
	policy := Update{Metadata: metadata, Size: len(update.GetPayload()), AcceptedAt: now.UTC()}
	if policy.Size > 0 {
		policy.Digest = digestOf(update.GetPayload())
	}
	return policy
}

// position orders all updates, whatever their policy ids: by time issued, then
// version, then id.
type position struct {
	IssuedAt int64  `json:"issued_at_ns"`
	Version  uint32 `json:"version"`
	PolicyID string `json:"policy_id,omitempty"`
}

func positionOf(update *leyline.PolicyUpdate) position {
	return position{issuedAt(update).UnixNano(), update.GetVersion(), update.GetPolicyId()}
}

func (p position) compare(other position) int {
	return cmp.Or(cmp.Compare(p.IssuedAt, other.IssuedAt), cmp.Compare(p.Version, other.Version),
		strings.Compare(p.PolicyID, other.PolicyID))
}

// journal is the content of active.json. Its values are replaced, never
// changed in place.
type journal struct {
	Stored    *Update   `json:"stored,omitempty"`    // the last one whose payload was taken in here
	Elsewhere *Update   `json:"elsewhere,omitempty"` // taken in by another store
	Previous  *Update   `json:"previous,omitempty"`  // stored before Stored
	Announced *Update   `json:"announced,omitempty"`
	Force     *Force    `json:"force,omitempty"` // nil before the first action
	Last      *position `json:"last,omitempty"`  // of everything accepted
}

// newer reports whether update lies after everything accepted.
func (j journal) newer(update *leyline.PolicyUpdate) bool {
	return j.Last == nil || positionOf(update).compare(*j.Last) > 0
}

func (j journal) accept(policy Update) journal {
	next := j.reach(positionOf(policy.Metadata))
	next.Announced = &policy
	if policy.Digest != "" {
		next.Stored, next.Previous = &policy, j.Stored
	}
	return next
}

// learn takes note of what another store has taken in.
func (j journal) learn(policy Update) journal {
	next := j.reach(positionOf(policy.Metadata))
	next.Elsewhere = &policy
	return next
}

// reach refuses from now on whatever lies at a position or before it.
func (j journal) reach(at position) journal {
	if j.Last == nil || at.compare(*j.Last) > 0 {
		j.Last = &at
	}
	return j
}

// newest is the one of all that were taken in, here or elsewhere, that was issued
// last; nil before the first.
func (j journal) newest() *Update {
	if j.Stored == nil || j.Elsewhere != nil && positionOf(j.Elsewhere.Metadata).compare(positionOf(j.Stored.Metadata)) > 0 {
		return j.Elsewhere
	}
	return j.Stored
}

func (j journal) digests() []string {
	var digests []string
	for _, policy := range append([]*Update{j.Stored, j.Previous}, j.Force.policies()...) {
		if policy != nil {
			digests = append(digests, policy.Digest)
		}
	}
	return digests
}

// write writes what the release before reads, too: after a rollback it refuses what was
// accepted here, and knows the payload.
func (j journal) write(path string) error {
	content, err := json.MarshalIndent(struct {
		journal
		formerJournal
	}{j, formerJournal{Active: j.Stored, Floor: j.Last}}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, content, 0o600)
}

// maxJournal bounds what is read, in bytes: a journal names ten updates at most, each of
// which came in one envelope.
const maxJournal = 16 << 20

func readJournal(path string) (journal, error) {
	content, err := regularfile.Read(path, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, nil
	}
	if err != nil {
		return journal{}, fmt.Errorf("read policy journal: %w", err)
	}
	var read journal
	var former formerJournal
	if err := errors.Join(json.Unmarshal(content, &read), json.Unmarshal(content, &former)); err != nil {
		return journal{}, fmt.Errorf("read policy journal: parse %s: %w", path, err)
	}
	return former.bring(read), nil
}

// formerJournal is what a journal held when each policy id had an order of its own.
type formerJournal struct {
	Active *Update             `json:"active,omitempty"`
	Seen   map[string]position `json:"seen,omitempty"`
	Floor  *position           `json:"floor,omitempty"`
}

// bring takes over what refuses old updates, and the payload.
func (f formerJournal) bring(to journal) journal {
	for id, at := range f.Seen {
		to = to.reach(position{at.IssuedAt, at.Version, id})
	}
	if f.Floor != nil {
		to = to.reach(*f.Floor)
	}
	to.Stored = cmp.Or(to.Stored, f.Active)
	return to
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
