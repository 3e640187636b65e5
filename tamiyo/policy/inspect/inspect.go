// Package inspect looks at what a store of policies keeps, from outside: Folder lists it.
package inspect

import (
	"github.com/esper-lite/weatherlight/tamiyo/policy/accepted"
	"github.com/esper-lite/weatherlight/tamiyo/policy/journal"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/policy/payloads"
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
	accepted.Update
	Roles []string
}

// Folder looks at what a store keeps in a folder, while it works there or not, and changes
// nothing.
func Folder(dir string) ([]Kept, error) {
	j, err := journal.Read(dir)
	if err != nil {
		return nil, err
	}
	var kept []Kept
	add := func(role string, policy *accepted.Update) {
		if policy == nil {
			return
		}
		for i := range kept {
			if kept[i].Digest == policy.Digest && kept[i].Position().Compare(policy.Position()) == 0 {
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
	add(RoleNewest, j.Newest())
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
	payload, err := payloads.Read(dir, kept.Digest, int64(kept.Size))
	if err != nil {
		return err
	}
	_, err = network.Read(payload)
	return err
}
