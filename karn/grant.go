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

// Merge returns a grant for everything that g or other permits.
func (g Grant) Merge(other Grant) Grant {
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

// Permit says whether the deployment's own grant permits a descriptor from elsewhere,
// such as a library's row: nil, or a *RefusedError. What the catalogue knows of the
// blueprint decides, and the descriptor's own flags when it is of nobody's catalogue.
// approved says that the approval was given there already.
func (c *Catalog) Permit(d *leyline.BlueprintDescriptor, approved bool) error {
	g := c.config.Granted
	if approved {
		g = g.Merge(Grant{Approved: []string{d.GetBlueprintId()}})
	}
	if known, err := c.find(d.GetBlueprintId()); err == nil {
		d = known
	}
	return authorize(d, g)
}

// authorize says whether g permits a blueprint.
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
