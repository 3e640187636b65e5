package urza

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestFind(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, newConfig configFor) {
		ctx := context.Background()
		library := openTest(t, newConfig(t.TempDir()))
		kernels := []struct {
			id, name string
			tier     leyline.BlueprintTier
			stage    uint32
			tags     []string
		}{
			{"BP001", "identity", leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, 0, []string{"Baseline"}},
			{"BP002", "gated_linear", leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, 1, nil},
			{"BP036", "router", leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL, 1, []string{"moe", "漢字"}},
			{"bp900", "Attention", leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK, 3, []string{"MoE"}},
		}
		for _, k := range kernels {
			d := &leyline.BlueprintDescriptor{BlueprintId: k.id, Name: k.name, Tier: k.tier, Stage: k.stage}
			extras := map[string]any{"tags": k.tags}
			if _, err := library.Save(ctx, d, []byte(k.id), nil, extras); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := library.Count(ctx); n != len(kernels) || err != nil {
			t.Errorf("counted %d rows, %v", n, err)
		}
		zero, one := uint32(0), uint32(1)
		tests := []struct {
			query Query
			want  []string
		}{
			{Query{}, []string{"BP001", "BP002", "BP036", "bp900"}},
			{Query{Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE}, []string{"BP001", "BP002"}},
			{Query{Stage: &zero}, []string{"BP001"}},
			{Query{Stage: &one, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE}, []string{"BP002"}},
			{Query{Tag: "MOE"}, []string{"BP036", "bp900"}},
			{Query{Tag: "mo"}, nil},
			{Query{Text: "bp"}, []string{"BP001", "BP002", "BP036", "bp900"}},
			{Query{Text: "ATTENT"}, []string{"bp900"}},
			{Query{Text: "漢"}, []string{"BP036"}},
			{Query{Text: "baseline", Tag: "moe"}, nil},
		}
		for _, test := range tests {
			found, err := library.Find(ctx, test.query)
			if err != nil {
				t.Fatal(err)
			}
			var ids []string
			for _, record := range found {
				ids = append(ids, record.Descriptor.GetBlueprintId())
			}
			if diff := cmp.Diff(test.want, ids); diff != "" {
				t.Errorf("%+v: %s", test.query, diff)
			}
		}
	})
}
