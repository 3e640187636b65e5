package policy

import (
	"path/filepath"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// Roles of a policy that is kept.
const (
	RoleActive    = "active"
	RoleShadow    = "shadow"
	RoleBefore    = "before" // a rollback may bring it back
	RoleNewest    = "newest"
	RolePrevious  = "previous"
	RoleAnnounced = "announced"
)

// Kept is a policy that a store knows of.
type Kept struct {
	Update
	Roles []string
}

// Inspect looks at what a store keeps in a folder, while it works there or not, and changes
// nothing.
func Inspect(dir string) ([]Kept, error) {
	j, err := readJournal(filepath.Join(dir, journalName))
	if err != nil {
		return nil, err
	}
	var kept []Kept
	add := func(role string, policy *Update) {
		if policy == nil {
			return
		}
		for i := range kept {
			if kept[i].Digest == policy.Digest && positionOf(kept[i].Metadata).compare(positionOf(policy.Metadata)) == 0 {
				kept[i].Roles = append(kept[i].Roles, role)
				return
			}
		}
		kept = append(kept, Kept{*policy, []string{role}})
	}
	if j.Force != nil {
		add(RoleActive, j.Force.Active)
		add(RoleShadow, j.Force.Shadow)
	}
	add(RoleNewest, j.newest())
	add(RolePrevious, j.Previous)
	if j.Announced != nil && j.Announced.Digest == "" {
		add(RoleAnnounced, j.Announced)
	}
	if j.Force != nil {
		for _, policy := range j.Force.Before {
			add(RoleBefore, policy)
		}
	}
	return kept, nil
}

// Usable is why the payload of a policy that is kept in a folder cannot decide, or nil.
func Usable(dir string, kept Kept) error {
	payload, err := regularfile.Read(payloadPath(dir, kept.Digest), kernelSize)
	if err != nil {
		return err
	}
	_, err = ReadNetwork(payload)
	return err
}

// kernelSize is the most that a kernel may have, in bytes.
const kernelSize = 16 << 20
