package tezzeret

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// NotCompilableError says that a blueprint is not compiled, and why. Nothing
// is compiled in its place.
type NotCompilableError struct {
	BlueprintID, Name, Reason string
}

func (e *NotCompilableError) Error() string {
	return fmt.Sprintf("tezzeret: blueprint %s (%s) is not compilable: %s", e.BlueprintID, e.Name, e.Reason)
}

func notCompilable(d *leyline.BlueprintDescriptor, reason string) error {
	return &NotCompilableError{BlueprintID: d.GetBlueprintId(), Name: d.GetName(), Reason: reason}
}

// Compilable returns nil, or the *NotCompilableError that Compile would give
// for the midpoints: a permission that is missing, an architecture that cannot
// be built, or a slot that it makes no sense in.
func (c *Compiler) Compilable(d *leyline.BlueprintDescriptor) error {
	reason := c.missingPermission(d)
	if reason == "" {
		reason = c.unfit(d, Midpoints(d))
	}
	if reason == "" {
		return nil
	}
	return notCompilable(d, reason)
}

// unfit says why there is no such network for the slot, or "".
func (c *Compiler) unfit(d *leyline.BlueprintDescriptor, params map[string]float64) string {
	architecture, ok := architectureOf(d.GetName())
	if !ok {
		return whyNot(d.GetName())
	}
	return architecture.refusal(c.config.Slot, params)
}

func (c *Compiler) missingPermission(d *leyline.BlueprintDescriptor) string {
	id := d.GetBlueprintId()
	switch {
	case slices.Contains(c.config.Quarantine, id):
		return ""
	case d.GetQuarantineOnly():
		return "quarantine only, and no quarantine is granted"
	case d.GetApprovalRequired() && !slices.Contains(c.config.Approved, id):
		return "approval required, and none is granted"
	default:
		return ""
	}
}

// whyNot explains why a blueprint of this name has no architecture.
func whyNot(name string) string {
	switch name {
	case "deadlock_pattern", "race_condition":
		return "means nothing to a kernel, which is data and runs no code"
	default:
		return "no architecture has this name"
	}
}
