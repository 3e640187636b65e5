// Package journal is what a store of policies keeps of them on disk: which were taken in, which
// are in force, and up to where everything was accepted.
package journal

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
)

const fileName = "active.json"

// Path is that of the file, in the folder of a store.
func Path(dir string) string { return filepath.Join(dir, fileName) }

// Journal is the content of active.json. Its values are replaced, never
// changed in place.
type Journal struct {
	Stored    *accepted.Update   `json:"stored,omitempty"`    // the last one whose payload was taken in here
	Elsewhere *accepted.Update   `json:"elsewhere,omitempty"` // taken in by another store
	Previous  *accepted.Update   `json:"previous,omitempty"`  // the newest before the newest
	Announced *accepted.Update   `json:"announced,omitempty"`
	Force     *Force             `json:"force,omitempty"` // nil before the first action
	Last      *accepted.Position `json:"last,omitempty"`  // of everything accepted
}

// Newer reports whether update lies after everything accepted.
func (j Journal) Newer(update *leyline.PolicyUpdate) bool {
	return j.Last == nil || accepted.PositionOf(update).Compare(*j.Last) > 0
}

// Accept is the journal after a policy was taken in, or announced.
func (j Journal) Accept(policy accepted.Update) Journal {
	next := j.Reach(policy.Position())
	next.Announced = &policy
	if policy.Digest != "" {
		next.Stored, next.Previous = &policy, j.Newest()
	}
	return next
}

// Recent are the updates that were accepted last, as one store tells another. Each may be nil.
type Recent struct {
	Newest    *accepted.Update `json:"newest,omitempty"` // of those that were taken in
	Previous  *accepted.Update `json:"previous,omitempty"`
	Announced *accepted.Update `json:"announced,omitempty"` // of all that were no actions
}

// Recent are the updates that were accepted last, here or elsewhere.
func (j Journal) Recent() Recent {
	return Recent{Newest: j.Newest(), Previous: j.Previous, Announced: j.Announced}
}

// Learn takes note of what another store has accepted. What is known changes nothing.
func (j Journal) Learn(other Recent) Journal {
	next := j
	taken := []*accepted.Update{j.Newest(), j.Previous, other.Newest, other.Previous}
	taken = slices.DeleteFunc(taken, func(policy *accepted.Update) bool { return policy == nil })
	slices.SortStableFunc(taken, func(a, b *accepted.Update) int { return b.Position().Compare(a.Position()) })
	taken = slices.CompactFunc(taken, func(a, b *accepted.Update) bool { return a.Position() == b.Position() })
	if len(taken) > 0 && taken[0] != j.Newest() {
		next.Elsewhere = taken[0]
	}
	if len(taken) > 1 {
		next.Previous = taken[1]
	}
	if other.Announced != nil && (j.Announced == nil || other.Announced.Position().Compare(j.Announced.Position()) > 0) {
		next.Announced = other.Announced
	}
	for _, policy := range []*accepted.Update{other.Newest, other.Announced} {
		if policy != nil {
			next = next.Reach(policy.Position())
		}
	}
	return next
}

// Reach refuses from now on whatever lies at a position or before it.
func (j Journal) Reach(at accepted.Position) Journal {
	if j.Last == nil || at.Compare(*j.Last) > 0 {
		j.Last = &at
	}
	return j
}

// Newest is the one of all that were taken in, here or elsewhere, that was issued
// last; nil before the first.
func (j Journal) Newest() *accepted.Update {
	if j.Stored == nil || j.Elsewhere != nil && j.Elsewhere.Position().Compare(j.Stored.Position()) > 0 {
		return j.Elsewhere
	}
	return j.Stored
}

// Known are the policies that may be put in force.
func (j Journal) Known() []*accepted.Update {
	all := append([]*accepted.Update{j.Stored, j.Elsewhere, j.Previous}, j.Force.Policies()...)
	return slices.DeleteFunc(all, func(policy *accepted.Update) bool { return policy == nil })
}

// Digests are those of the payloads that are kept.
func (j Journal) Digests() []string {
	var digests []string
	for _, policy := range j.Known() {
		digests = append(digests, policy.Digest)
	}
	return digests
}

// Write writes what the release before reads, too: after a rollback it refuses what was
// accepted here, and knows the payload.
func (j Journal) Write(dir string) error {
	content, err := json.MarshalIndent(struct {
		Journal
		formerJournal
	}{j, formerJournal{Active: j.Stored, Floor: j.Last}}, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(Path(dir), content, 0o600)
}

// maxJournal bounds what is read, in bytes: a journal names ten updates at most, each of
// which came in one envelope.
const maxJournal = 16 << 20

// Read reads what is kept in a folder; nothing is there before the first write.
func Read(dir string) (Journal, error) {
	path := Path(dir)
	content, err := regularfile.Read(path, maxJournal)
	if errors.Is(err, fs.ErrNotExist) {
		return Journal{}, nil
	}
	if err != nil {
		return Journal{}, fmt.Errorf("read policy journal: %w", err)
	}
	var read Journal
	var former formerJournal
	if err := errors.Join(json.Unmarshal(content, &read), json.Unmarshal(content, &former)); err != nil {
		return Journal{}, fmt.Errorf("read policy journal: parse %s: %w", path, err)
	}
	return former.bring(read), nil
}

// formerJournal is what a journal held when each policy id had an order of its own.
type formerJournal struct {
	Active *accepted.Update             `json:"active,omitempty"`
	Seen   map[string]accepted.Position `json:"seen,omitempty"`
	Floor  *accepted.Position           `json:"floor,omitempty"`
}

// bring takes over what refuses old updates, and the payload.
func (f formerJournal) bring(to Journal) Journal {
	for id, at := range f.Seen {
		to = to.Reach(accepted.Position{IssuedAt: at.IssuedAt, Version: at.Version, PolicyID: id})
	}
	if f.Floor != nil {
		to = to.Reach(*f.Floor)
	}
	to.Stored = cmp.Or(to.Stored, f.Active)
	return to
}
