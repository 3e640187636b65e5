package karn_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

const experimental = leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL

// ours is a blueprint that is not among the fifty, with one parameter in 0..1.
func ours() *leyline.BlueprintDescriptor {
	return &leyline.BlueprintDescriptor{
		BlueprintId: "BP900", Name: "of_our_own", Tier: experimental,
		AllowedParameters: map[string]*leyline.BlueprintParameterBounds{"alpha": {MaxValue: 1}},
	}
}

func TestRegisteredBlueprintIsOneOfTheCatalogue(t *testing.T) {
	base, mine := karn.NewCatalog(), ours()
	catalog, err := base.With(mine)
	if err != nil {
		t.Fatal(err)
	}
	mine.Name = "changed afterwards"
	got, err := catalog.Get("BP900")
	if err != nil || got.GetName() != "of_our_own" {
		t.Errorf("got %v, %v", got, err)
	}
	if list := catalog.List(); len(list) != 51 || list[50].GetBlueprintId() != "BP900" {
		t.Errorf("%d blueprints", len(list))
	}
	if list := catalog.ListTier(experimental); len(list) != 8 {
		t.Errorf("%d experimental blueprints", len(list))
	}
	request := karn.Request{BlueprintID: "BP900", Parameters: map[string]float64{"alpha": 0.5}}
	if _, err := catalog.Select(t.Context(), request); err != nil {
		t.Error(err)
	}
	request.Parameters["alpha"] = 2
	if _, err := catalog.Select(t.Context(), request); !errors.Is(err, karn.ErrOutOfRange) {
		t.Errorf("alpha 2: %v", err)
	}
	if m := catalog.Stats(); m.Selected != 1 || m.Failed != 1 {
		t.Errorf("metrics %v", m)
	}
	if _, err := base.Get("BP900"); err == nil || base.Stats().Selected != 0 {
		t.Error("the catalogue it was made from has changed")
	}
}

func TestRegisteredBlueprintTakesThePlaceOfItsNamesake(t *testing.T) {
	same := ours()
	same.BlueprintId = "BP003"
	catalog, err := karn.NewCatalogWith(karn.Config{Quarantined: []string{"BP003"}}).With(same)
	if err != nil {
		t.Fatal(err)
	}
	list := catalog.List()
	if len(list) != 50 || list[2].GetName() != "of_our_own" || !list[2].GetQuarantineOnly() {
		t.Errorf("%d blueprints, the third %v", len(list), list[2])
	}
}

func TestBlueprintsThatMakeNoSenseAreRefusedTogether(t *testing.T) {
	nameless, tierless, backwards, endless := ours(), ours(), ours(), ours()
	nameless.BlueprintId = ""
	tierless.BlueprintId, tierless.Tier = "BP901", 0
	backwards.BlueprintId = "BP902"
	backwards.AllowedParameters["alpha"].MinValue = 2
	endless.BlueprintId = "BP903"
	endless.AllowedParameters["alpha"].MaxValue = math.Inf(1)
	catalog, err := karn.NewCatalog().With(ours(), nameless, tierless, backwards, endless, nil)
	if catalog != nil || !errors.Is(err, karn.ErrDescriptor) {
		t.Fatalf("%v, %v", catalog, err)
	}
	for _, say := range []string{`""`, "BP901", "BP902", "BP903", "[2, 1]"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("%q does not say %s", err, say)
		}
	}
}
