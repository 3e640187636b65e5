package karn

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// Grant is a permission for named blueprints. It never extends to others.
type Grant struct {
	// Approved lists the ids whose approval requirement is met.
	Approved []string

	// Quarantine lists the ids that may run because their caller keeps them in
	// quarantine; it includes the approval.
	Quarantine []string
}

// merge returns a grant for everything that g or other permits.
func (g Grant) merge(other Grant) Grant {
	return Grant{
		Approved:   slices.Concat(g.Approved, other.Approved),
		Quarantine: slices.Concat(g.Quarantine, other.Quarantine),
	}
}

// RefusedError says that a blueprint needs a permission the caller lacks.
type RefusedError struct {
	BlueprintID, Name string
	Reason            string // "quarantine only" or "approval required"
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("karn: blueprint %s (%s) refused: %s", e.BlueprintID, e.Name, e.Reason)
}

// Authorize returns nil when the blueprint needs no permission or g holds it,
// a *RefusedError when it does not, and an error that wraps
// ErrUnknownBlueprint when there is no such blueprint.
func (c *Catalog) Authorize(id string, g Grant) error {
	d, err := c.find(id)
	if err != nil {
		return err
	}
	return authorize(d, g)
}

func authorize(d *leyline.BlueprintDescriptor, g Grant) error {
	id := d.GetBlueprintId()
	if slices.Contains(g.Quarantine, id) {
		return nil
	}
	if d.GetQuarantineOnly() {
		return &RefusedError{BlueprintID: id, Name: d.GetName(), Reason: "quarantine only"}
	}
	if d.GetApprovalRequired() && !slices.Contains(g.Approved, id) {
		return &RefusedError{BlueprintID: id, Name: d.GetName(), Reason: "approval required"}
	}
	return nil
}
