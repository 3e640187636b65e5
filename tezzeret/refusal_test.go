package tezzeret_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// adversarial marks a blueprint as one that needs a quarantine.
func adversarial(d *leyline.BlueprintDescriptor) *leyline.BlueprintDescriptor {
	d.Tier, d.ApprovalRequired, d.QuarantineOnly = leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK, true, true
	return d
}

func TestRefusedByNameWithAReason(t *testing.T) {
	cases := []struct {
		name       string
		config     tezzeret.Config
		descriptor *leyline.BlueprintDescriptor
		reason     string
	}{
		{"experimental without approval", tezzeret.Config{}, find(t, "mixture_of_experts_4"), "approval required"},
		{"approval of another", tezzeret.Config{Approved: []string{"BP037"}},
			find(t, "mixture_of_experts_4"), "approval required"},
		{"adversarial without quarantine", tezzeret.Config{},
			adversarial(blueprint("BP043", "exploding_gradient")), "quarantine only"},
		{"approval is not quarantine", tezzeret.Config{Approved: []string{"BP043"}},
			adversarial(blueprint("BP043", "exploding_gradient")), "quarantine only"},
		{"deadlock in quarantine", tezzeret.Config{Quarantine: []string{"BP048"}},
			adversarial(blueprint("BP048", "deadlock_pattern")), "runs no code"},
		{"race in quarantine", tezzeret.Config{Quarantine: []string{"BP049"}},
			adversarial(blueprint("BP049", "race_condition")), "runs no code"},
		{"time in an image", tezzeret.Config{Slot: tezzeret.Slot{Channels: 3, Height: 8, Width: 8}},
			find(t, "temporal_conv"), "no time axis"},
		{"pyramid of a point", tezzeret.Config{Slot: tezzeret.Slot{Features: 7}},
			find(t, "feature_pyramid"), "wants 8 positions"},
		{"attention over a large image", tezzeret.Config{Slot: tezzeret.Slot{Channels: 3, Height: 64, Width: 64}},
			find(t, "transformer_block"), "4096, at most 512"},
		{"slot of two forms", tezzeret.Config{Slot: tezzeret.Slot{Features: 3, Sequence: 4}},
			find(t, "relu_activation"), "neither"},
		{"negative slot", tezzeret.Config{Features: -3}, find(t, "relu_activation"), "neither"},
		{"unheard of", tezzeret.Config{}, blueprint("BP099", "perpetuum_mobile"), "no architecture"},
	}
	for _, c := range cases {
		compiler := tezzeret.NewCompiler(c.config)
		_, compileErr := compiler.Compile(t.Context(), c.descriptor, nil)
		for _, err := range []error{compiler.Compilable(c.descriptor), compileErr} {
			var refused *tezzeret.NotCompilableError
			if !errors.As(err, &refused) {
				t.Errorf("%s: got %v", c.name, err)
				continue
			}
			if refused.BlueprintID != c.descriptor.GetBlueprintId() || refused.Name != c.descriptor.GetName() ||
				!strings.Contains(refused.Reason, c.reason) {
				t.Errorf("%s: got %v, want reason %q", c.name, err, c.reason)
			}
		}
	}
}

func TestAdversarialTemplateIsNotCompiledWithoutApproval(t *testing.T) {
	compiler := tezzeret.NewCompiler(tezzeret.Config{})
	// The name has an architecture; only the permission is missing.
	d := adversarial(find(t, "linear_projection"))
	if _, err := compiler.Compile(t.Context(), d, nil); err == nil {
		t.Fatal("compiled without a quarantine")
	}
	granted := tezzeret.NewCompiler(tezzeret.Config{Quarantine: []string{"BP002"}})
	if _, err := granted.Compile(t.Context(), d, nil); err != nil {
		t.Error(err)
	}
}

func TestRefusalReadsAsOneLine(t *testing.T) {
	err := tezzeret.NewCompiler(tezzeret.Config{}).Compilable(find(t, "neural_ode_block"))
	const want = "tezzeret: blueprint BP039 (neural_ode_block) is not compilable: approval required, and none is granted"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}
