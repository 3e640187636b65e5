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

// Compilable returns nil, or the *NotCompilableError that Compile would give:
// a permission that is missing, or an architecture that cannot be built.
func (c *Compiler) Compilable(d *leyline.BlueprintDescriptor) error {
	reason := c.missingPermission(d)
	if _, ok := architectureOf(d.GetName()); reason == "" && !ok {
		reason = whyNot(d.GetName())
	}
	if reason == "" {
		return nil
	}
	return &NotCompilableError{BlueprintID: d.GetBlueprintId(), Name: d.GetName(), Reason: reason}
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
	const (
		image    = "needs a slot of channels, height and width; only feature vectors are built"
		sequence = "needs a slot of steps and features; only feature vectors are built"
		stressor = "adversarial stressors are not built"
		dataOnly = "means nothing to a kernel, which is data and runs no code"
	)
	reasons := map[string]string{
		"pooling_max": image, "grouped_conv": image, "depthwise_separable": image, "channel_attention": image,
		"spatial_attention": image, "conv_transformer": image, "dynamic_conv": image, "adaptive_pooling": image,
		"feature_pyramid": image, "dilated_conv": image, "deformable_conv": image, "non_local_block": image,
		"cross_attention": sequence, "attention_single_head": sequence, "multi_head_attention_4": sequence,
		"transformer_block": sequence, "multi_head_attention_8": sequence, "temporal_conv": sequence,
		"hierarchical_attention": sequence,
		"graph_attention":        "needs a slot of graph nodes and edges; only feature vectors are built",
		"exploding_gradient":     stressor, "vanishing_gradient": stressor, "nan_injection": stressor,
		"infinite_loop": stressor, "memory_leak": stressor, "adversarial_noise": stressor,
		"deadlock_pattern": dataOnly, "race_condition": dataOnly,
	}
	if reason, ok := reasons[name]; ok {
		return reason
	}
	return "no architecture has this name"
}
