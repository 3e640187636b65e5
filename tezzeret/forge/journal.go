package forge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// operation is what one journal entry says has happened to a blueprint.
type operation string

const (
	opStarted   operation = "started"   // a compilation begins
	opStopped   operation = "stopped"   // it was given back without a verdict
	opFailed    operation = "failed"    // every attempt failed; parked until Until
	opSaving    operation = "saving"    // the library is about to take Checksum
	opStored    operation = "stored"    // the library has it; Update is to be announced
	opAnnounced operation = "announced" // whoever announces has taken Checksum over: the bus, or an outbox before it
	opBuilt     operation = "built"     // stored and announced, Digest is what was built
)

// entry is one line of the journal.
type entry struct {
	Op        operation       `json:"op"`
	Blueprint string          `json:"blueprint"`
	Digest    string          `json:"digest,omitempty"` // build digest
	Time      time.Time       `json:"time,omitzero"`
	Checksum  string          `json:"checksum,omitempty"`
	Failures  int             `json:"failures,omitempty"` // in a row, up to this one
	Reason    string          `json:"reason,omitempty"`
	Until     time.Time       `json:"until,omitzero"`
	Update    json.RawMessage `json:"update,omitempty"` // protobuf JSON
}

// standing is what the journal knows of one blueprint.
type standing struct {
	tried    string // digest that the failures and crashes belong to
	failures int    // passes in a row in which every attempt failed
	crashes  int    // compilations that began and never came to an end
	reason   string
	since    time.Time // of the last compilation that began
	until    time.Time // parked until then

	saving, savingDigest string // checksum and digest whose saving has no known end
	built                string // digest of what the library was given
}

// journalState is the state that the entries add up to.
type journalState struct {
	byID        map[string]*standing
	unannounced []*leyline.KernelCatalogUpdate // stored, not announced, oldest first
}

func newJournalState() *journalState { return &journalState{byID: make(map[string]*standing)} }

// of returns the standing of a blueprint, a blank one when nothing is known.
func (l *journalState) of(id string) *standing {
	s, ok := l.byID[id]
	if !ok {
		s = &standing{}
		l.byID[id] = s
	}
	return s
}

// take applies an entry. An entry of an unknown kind, from a later release,
// changes nothing.
func (l *journalState) take(e entry) error {
	if e.Blueprint == "" {
		return fmt.Errorf("entry %q names no blueprint", e.Op)
	}
	s := l.of(e.Blueprint)
	switch e.Op {
	case opStarted:
		s.start(e)
	case opStopped:
		s.crashes = max(0, s.crashes-1)
	case opFailed:
		s.tried, s.crashes, s.failures, s.reason, s.until = e.Digest, 0, max(0, e.Failures), e.Reason, e.Until
	case opSaving:
		s.crashes, s.saving, s.savingDigest = 0, e.Checksum, e.Digest
	case opStored:
		return l.store(s, e)
	case opAnnounced:
		l.announce(e.Blueprint, e.Checksum)
	case opBuilt:
		*s = standing{built: e.Digest}
	}
	return nil
}

func (s *standing) start(e entry) {
	if s.tried != e.Digest {
		s.failures, s.crashes, s.reason, s.until = 0, 0, "", time.Time{}
	}
	s.tried, s.since = e.Digest, e.Time
	s.crashes++
}

func (l *journalState) store(s *standing, e entry) error {
	update := &leyline.KernelCatalogUpdate{}
	if err := protojson.Unmarshal(e.Update, update); err != nil {
		return fmt.Errorf("update of %s: %w", e.Blueprint, err)
	}
	if update.GetBlueprintId() != e.Blueprint {
		return fmt.Errorf("update of %s under the name of %s", update.GetBlueprintId(), e.Blueprint)
	}
	*s = standing{built: e.Digest}
	l.announce(e.Blueprint, update.GetChecksum()) // an older announcement of the same is no second one
	l.unannounced = append(l.unannounced, update)
	return nil
}

func (l *journalState) announce(id, checksum string) {
	l.unannounced = slices.DeleteFunc(l.unannounced, func(u *leyline.KernelCatalogUpdate) bool {
		return u.GetBlueprintId() == id && u.GetChecksum() == checksum
	})
}

// entries is the shortest list that adds up to the state again.
func (l *journalState) entries() ([]entry, error) {
	var list []entry
	for _, id := range slices.Sorted(maps.Keys(l.byID)) {
		list = append(list, l.byID[id].entries(id)...)
	}
	for _, update := range l.unannounced {
		e, err := storedEntry(update, l.of(update.GetBlueprintId()).built)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

func (s *standing) entries(id string) []entry {
	var list []entry
	if s.built != "" {
		list = append(list, entry{Op: opBuilt, Blueprint: id, Digest: s.built})
	}
	if s.failures > 0 {
		list = append(list, entry{
			Op: opFailed, Blueprint: id, Digest: s.tried, Failures: s.failures, Reason: s.reason, Until: s.until,
		})
	}
	if s.saving != "" {
		list = append(list, entry{Op: opSaving, Blueprint: id, Digest: s.savingDigest, Checksum: s.saving})
	}
	for range s.crashes {
		list = append(list, entry{Op: opStarted, Blueprint: id, Digest: s.tried, Time: s.since})
	}
	return list
}

func storedEntry(update *leyline.KernelCatalogUpdate, digest string) (entry, error) {
	text, err := protojson.Marshal(update)
	if err != nil {
		return entry{}, fmt.Errorf("write update of %s: %w", update.GetBlueprintId(), err)
	}
	return entry{Op: opStored, Blueprint: update.GetBlueprintId(), Digest: digest, Update: text}, nil
}

// pending returns the oldest update that is not announced.
func (l *journalState) pending() (*leyline.KernelCatalogUpdate, bool) {
	if len(l.unannounced) == 0 {
		return nil, false
	}
	return proto.CloneOf(l.unannounced[0]), true
}
