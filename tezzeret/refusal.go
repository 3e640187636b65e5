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

	// Forbidden says that a permission is missing; otherwise there is no such
	// network for the slot, whoever asks.
	Forbidden bool
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
	if err := c.buildable(d); err != nil {
		return err
	}
	if reason := c.unfit(d, Midpoints(d)); reason != "" {
		return notCompilable(d, reason)
	}
	return nil
}

// buildable is Compilable for some slot and some parameters.
func (c *Compiler) buildable(d *leyline.BlueprintDescriptor) error {
	if reason := c.missingPermission(d); reason != "" {
		return &NotCompilableError{BlueprintID: d.GetBlueprintId(), Name: d.GetName(), Reason: reason, Forbidden: true}
	}
	if _, ok := architectures[d.GetName()]; !ok {
		return notCompilable(d, whyNot(d.GetName()))
	}
	return nil
}

// unfit says why there is no such network for the slot, or "".
func (c *Compiler) unfit(d *leyline.BlueprintDescriptor, params map[string]float64) string {
	if _, ok := architectures[d.GetName()]; !ok {
		return whyNot(d.GetName())
	}
	if !c.config.Slot.bounded() {
		return fmt.Sprintf("the slot %s has more than %d values", c.config.Slot, maxSlot)
	}
	return refusal(d.GetName(), c.config.Slot, params)
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
