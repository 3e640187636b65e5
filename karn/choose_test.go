package karn_test

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

// everything is the grant of a caller who may use every blueprint.
func everything(catalog *karn.Catalog) (all karn.Grant) {
	for _, d := range catalog.List() {
		all.Quarantine = append(all.Quarantine, d.GetBlueprintId())
	}
	return all
}

// The choice is the golden one whatever is permitted, and nobody gets it unpermitted.
func TestChosenBlueprintIsNotHandedOutWithoutItsPermission(t *testing.T) {
	experimental := karn.Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL, Context: "run-1"} // BP039
	adversarial := karn.Query{
		Tier: leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK, Context: "run-1", AllowAdversarial: true, // BP046
	}
	cases := []struct {
		name   string
		config karn.Config
		query  karn.Query
		grant  karn.Grant
		reason string
	}{
		{"nothing granted", karn.Config{}, experimental, karn.Grant{}, "approval required"},
		{"another approved", karn.Config{}, experimental, karn.Grant{Approved: []string{"BP036"}}, "approval required"},
		{"approved by the caller", karn.Config{}, experimental, karn.Grant{Approved: []string{"BP039"}}, ""},
		{"approved by the deployment", karn.Config{Granted: karn.Grant{Approved: []string{"BP039"}}},
			experimental, karn.Grant{}, ""},
		{"asked for, not granted", karn.Config{}, adversarial, karn.Grant{Approved: []string{"BP046"}}, "quarantine only"},
		{"granted by the deployment", karn.Config{Granted: karn.Grant{Quarantine: []string{"BP046"}}},
			adversarial, karn.Grant{}, ""},
		{"safe, but in quarantine here", karn.Config{Quarantined: []string{"BP001"}},
			karn.Query{}, karn.Grant{}, "quarantine only"},
		{"in quarantine here, and granted", karn.Config{
			Quarantined: []string{"BP001"}, Granted: karn.Grant{Quarantine: []string{"BP001"}},
		}, karn.Query{}, karn.Grant{}, ""},
	}
	for _, c := range cases {
		catalog := karn.NewCatalogWith(c.config)
		d, err := catalog.Select(t.Context(), karn.Request{Query: c.query, Grant: c.grant})
		var refused *karn.RefusedError
		if errors.As(err, &refused) != (c.reason != "") || (refused != nil && refused.Reason != c.reason) {
			t.Errorf("%s: got %s and %v, want reason %q", c.name, d.GetBlueprintId(), err, c.reason)
		}
	}
}

func TestChooseGoldenSelections(t *testing.T) {
	contexts := []string{"control-run", "run-1", "training-run-42", "esper", "漢字"}
	cases := []struct {
		name  string
		query karn.Query
		want  []string
	}{
		{"default", karn.Query{}, []string{"BP001", "BP018", "BP014", "BP018", "BP034"}},
		{"conservative", karn.Query{Conservative: true}, []string{"BP005", "BP002", "BP002", "BP010", "BP008"}},
		{"experimental", karn.Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL},
			[]string{"BP036", "BP039", "BP042", "BP039", "BP041"}},
		{"adversarial", karn.Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK, AllowAdversarial: true},
			[]string{"BP045", "BP046", "BP044", "BP044", "BP044"}},
	}
	catalog := karn.NewCatalog()
	for _, c := range cases {
		for i, context := range contexts {
			query := c.query
			query.Context = context
			d, err := catalog.Select(t.Context(), karn.Request{Query: query, Grant: everything(catalog)})
			if err != nil {
				t.Fatal(err)
			}
			if d.BlueprintId != c.want[i] {
				t.Errorf("%s, context %q: chose %s, want %s", c.name, context, d.BlueprintId, c.want[i])
			}
		}
	}
}

func TestChooseWithoutContextIsTheFirstCandidate(t *testing.T) {
	query := karn.Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL}
	d, err := karn.NewCatalog().Select(t.Context(), karn.Request{Query: query, Grant: karn.Grant{Approved: []string{"BP036"}}})
	if err != nil || d.BlueprintId != "BP036" {
		t.Errorf("got %s, %v", d.GetBlueprintId(), err)
	}
}

func TestChooseHasNoCandidate(t *testing.T) {
	cases := map[string]karn.Query{
		"adversarial tier without permission": {Tier: leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK},
		"no such tier":                        {Tier: 9},
		"a conservative caller who names a tier that is not safe": {
			Tier: leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL, Conservative: true,
		},
	}
	for name, query := range cases {
		if _, err := karn.NewCatalog().Select(t.Context(), karn.Request{Query: query, Grant: karn.Grant{}}); !errors.Is(err, karn.ErrNoCandidate) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestChooseProperties(t *testing.T) {
	catalog := karn.NewCatalog()
	rapid.Check(t, func(t *rapid.T) {
		query := karn.Query{
			Tier:             leyline.BlueprintTier(rapid.Int32Range(0, 3).Draw(t, "tier")),
			Context:          rapid.String().Draw(t, "context"),
			AllowAdversarial: rapid.Bool().Draw(t, "adversarial"),
			Conservative:     rapid.Bool().Draw(t, "conservative"),
		}
		d, err := catalog.Select(t.Context(), karn.Request{Query: query, Grant: everything(catalog)})
		if errors.Is(err, karn.ErrNoCandidate) {
			return
		}
		again, _ := karn.NewCatalog().Select(t.Context(), karn.Request{Query: query, Grant: everything(catalog)})
		if !proto.Equal(d, again) {
			t.Fatalf("chose %s, then %s", d.GetBlueprintId(), again.GetBlueprintId())
		}
		if query.Tier != 0 && d.Tier != query.Tier {
			t.Fatalf("tier %s chosen for %s", d.Tier, query.Tier)
		}
		if !query.AllowAdversarial && d.QuarantineOnly {
			t.Fatalf("adversarial %s chosen unasked", d.BlueprintId)
		}
		if query.Conservative && (d.Tier != leyline.BlueprintTier_BLUEPRINT_TIER_SAFE || d.BlueprintId > "BP010") {
			t.Fatalf("conservative choice is %s", d.BlueprintId)
		}
	})
}
