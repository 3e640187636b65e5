package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
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
	// maxPolicyIDs bounds the journal; beyond it the oldest positions merge
	// into one floor, which keeps their updates refused.
	maxPolicyIDs = 1024
)

// Update is one accepted update: its metadata without the payload, and where
// the payload is found.
type Update struct {
	Metadata  *leyline.PolicyUpdate // payload is always empty here
	Digest    string                // hex SHA-256 of the payload; empty for an announcement
	Size      int                   // bytes of the payload
	AppliedAt time.Time
}

func newUpdate(update *leyline.PolicyUpdate, now time.Time) Update {
	metadata := proto.CloneOf(update)
	metadata.Payload = nil
	policy := Update{Metadata: metadata, Size: len(update.GetPayload()), AppliedAt: now}
	if policy.Size > 0 {
		policy.Digest = digestOf(update.GetPayload())
	}
	return policy
}

// position orders the updates of one policy id: by time issued, then version.
type position struct {
	IssuedAt int64  `json:"issued_at_ns"`
	Version  uint32 `json:"version"`
}

func positionOf(update *leyline.PolicyUpdate) position {
	return position{IssuedAt: issuedAt(update).UnixNano(), Version: update.GetVersion()}
}

func (p position) compare(other position) int {
	return cmp.Or(cmp.Compare(p.IssuedAt, other.IssuedAt), cmp.Compare(p.Version, other.Version))
}

// journal is the content of active.json. Its values are replaced, never
// changed in place.
type journal struct {
	Active    *Update             `json:"active,omitempty"`
	Elsewhere *Update             `json:"elsewhere,omitempty"` // activated by another store
	Previous  *Update             `json:"previous,omitempty"`
	Announced *Update             `json:"announced,omitempty"`
	Seen      map[string]position `json:"seen,omitempty"`
	Floor     *position           `json:"floor,omitempty"`
}

// newer reports whether update lies after everything accepted under its id.
func (j journal) newer(update *leyline.PolicyUpdate) bool {
	here := positionOf(update)
	if last, found := j.Seen[update.GetPolicyId()]; found {
		return here.compare(last) > 0
	}
	return j.Floor == nil || here.compare(*j.Floor) > 0
}

func (j journal) accept(policy Update) journal {
	next := j.saw(policy.Metadata)
	next.Announced = &policy
	if policy.Digest != "" {
		next.Active, next.Previous = &policy, j.Active
	}
	return next
}

// learn takes note of what another store has activated.
func (j journal) learn(policy Update) journal {
	next := j
	if j.newer(policy.Metadata) {
		next = j.saw(policy.Metadata)
	}
	next.Elsewhere = &policy
	return next
}

// saw refuses update, and those of its id before it, from now on.
func (j journal) saw(update *leyline.PolicyUpdate) journal {
	j.Seen = maps.Clone(j.Seen)
	if j.Seen == nil {
		j.Seen = map[string]position{}
	}
	j.Seen[update.GetPolicyId()] = positionOf(update)
	return j.bounded()
}

// inForce is what was activated last, here or elsewhere; nil before the first.
func (j journal) inForce() *Update {
	if j.Active == nil || j.Elsewhere != nil && j.Elsewhere.AppliedAt.After(j.Active.AppliedAt) {
		return j.Elsewhere
	}
	return j.Active
}

// next is the time of an activation now. It lies behind every other one, also
// when the clock of whoever activated that is ahead of ours.
func (j journal) next(now time.Time) time.Time {
	if last := j.inForce(); last != nil && !now.After(last.AppliedAt) {
		return last.AppliedAt.Add(time.Nanosecond)
	}
	return now.UTC()
}

func (j journal) bounded() journal {
	for len(j.Seen) > maxPolicyIDs {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(j.Seen)), func(a, b string) int {
			return cmp.Or(j.Seen[a].compare(j.Seen[b]), strings.Compare(a, b))
		})
		floor := j.Seen[oldest]
		if j.Floor == nil || floor.compare(*j.Floor) > 0 {
			j.Floor = &floor
		}
		delete(j.Seen, oldest)
	}
	return j
}

func (j journal) digests() []string {
	var digests []string
	for _, policy := range []*Update{j.Active, j.Previous} {
		if policy != nil {
			digests = append(digests, policy.Digest)
		}
	}
	return digests
}

func (j journal) write(path string) error {
	content, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, content, 0o600)
}

// maxJournal bounds the file: it holds digests and times of at most maxPolicyIDs policies.
const maxJournal = 16 << 20

func readJournal(path string) (journal, error) {
	content, err := regularfile.Read(path, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return journal{}, nil
	}
	if err != nil {
		return journal{}, err
	}
	var read journal
	if err := json.Unmarshal(content, &read); err != nil {
		return journal{}, fmt.Errorf("parse %s: %w", path, err)
	}
	return read, nil
}

// updateFile is an Update as it stands in active.json: the update in the JSON
// form of protobuf with the contract's own field names.
type updateFile struct {
	Update    json.RawMessage `json:"update"`
	Digest    string          `json:"digest,omitempty"`
	Size      int             `json:"size,omitempty"`
	AppliedAt time.Time       `json:"applied_at"`
}

// MarshalJSON writes the form that active.json holds.
func (p Update) MarshalJSON() ([]byte, error) {
	update, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(p.Metadata)
	if err != nil {
		return nil, err
	}
	return json.Marshal(updateFile{Update: update, Digest: p.Digest, Size: p.Size, AppliedAt: p.AppliedAt})
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
	*p = Update{Metadata: update, Digest: file.Digest, Size: file.Size, AppliedAt: file.AppliedAt}
	return nil
}
