package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/tezzeret"
)

func features(n int) slotted {
	return slotted{catalog: karn.NewCatalog(), slot: tezzeret.Slot{Features: n}}
}

func TestListOfBlueprintsSaysWhatIsNeeded(t *testing.T) {
	var out bytes.Buffer
	if err := listBlueprints(features(32), in(t, "json"), &out); err != nil {
		t.Fatal(err)
	}
	var entries []blueprintEntry
	if err := json.Unmarshal(out.Bytes(), &entries); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, e := range entries {
		for _, grant := range e.Grants {
			counts[grant]++
		}
		if e.Compilable {
			counts["compilable"]++
		} else if !strings.Contains(e.Reason, "runs no code") {
			t.Errorf("%s is not compilable: %s", e.BlueprintID, e.Reason)
		}
	}
	want := map[string]int{grantApproval: 7, grantQuarantine: 8, "compilable": 48}
	for key, n := range want {
		if counts[key] != n || len(entries) != 50 {
			t.Errorf("%d entries, counts %v, want %v", len(entries), counts, want)
		}
	}
}

func TestBlueprintIsShown(t *testing.T) {
	cases := []struct {
		id   string
		slot slotted
		want []string
	}{
		{"BP009", features(32), []string{"residual_block", "nothing", "depth 1 to 4, 2.5", "6336 trainable", "He et al. 2016"}},
		{"bp039", features(32), []string{"neural_ode_block", "approval", "2112 trainable"}},
		{"BP048", features(32), []string{"quarantine", "not compilable", "runs no code"}},
		{"BP027", features(3), []string{"not compilable", "wants 8 positions"}},
	}
	for _, c := range cases {
		var out bytes.Buffer
		if err := showBlueprint(t.Context(), c.slot, c.id, in(t, "wide"), &out); err != nil {
			t.Fatal(err)
		}
		for _, text := range c.want {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: no %q in\n%s", c.id, text, out.String())
			}
		}
	}
	if err := showBlueprint(t.Context(), features(32), "BP051", in(t, "wide"), &bytes.Buffer{}); !errors.Is(err, karn.ErrUnknownBlueprint) {
		t.Errorf("got %v", err)
	}
}

func TestChosenBlueprintNeedsItsPermission(t *testing.T) {
	inEmptyLibrary(t)
	choose := []string{"blueprints", "choose", "--context", "run-1"}
	if out := mustRun(t, choose...); out != "BP018  spatial_attention\n" {
		t.Errorf("chose %q", out)
	}
	experimental := slices.Concat(choose, []string{"--tier", "experimental"})
	var refused *karn.RefusedError
	if out, err := run(t, experimental...); !errors.As(err, &refused) || refused.Reason != "approval required" {
		t.Errorf("chose %q, %v", out, err)
	}
	t.Setenv("KARN_APPROVED", "BP036,BP039")
	if out := mustRun(t, experimental...); out != "BP039  neural_ode_block\n" {
		t.Errorf("chose %q", out)
	}
	if _, err := run(t, slices.Concat(choose, []string{"--tier", "best"})...); err == nil {
		t.Error("an unknown tier was accepted")
	}
}
