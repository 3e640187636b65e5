package tezzeret_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// blueprint is a descriptor of one declared parameter or none.
func blueprint(id, name string, bounds ...any) *leyline.BlueprintDescriptor {
	d := &leyline.BlueprintDescriptor{
		BlueprintId: id, Name: name, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE,
		AllowedParameters: map[string]*leyline.BlueprintParameterBounds{},
	}
	for i := 0; i < len(bounds); i += 3 {
		d.AllowedParameters[bounds[i].(string)] = &leyline.BlueprintParameterBounds{
			MinValue: bounds[i+1].(float64), MaxValue: bounds[i+2].(float64),
		}
	}
	return d
}

// experimental marks a blueprint as one that needs an approval.
func experimental(d *leyline.BlueprintDescriptor) *leyline.BlueprintDescriptor {
	d.Tier, d.ApprovalRequired = leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL, true
	return d
}

// find returns the blueprint of one name.
func find(t *testing.T, name string) *leyline.BlueprintDescriptor {
	t.Helper()
	for _, d := range compilable() {
		if d.GetName() == name {
			return d
		}
	}
	t.Fatalf("no blueprint %s", name)
	return nil
}

// compile compiles a blueprint for 32 features.
func compile(t *testing.T, d *leyline.BlueprintDescriptor, params map[string]float64) *tezzeret.Compiled {
	t.Helper()
	compiled, err := approvedCompiler(32).Compile(t.Context(), d, params)
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestCompiledRecord(t *testing.T) {
	d := find(t, "highway_gate")
	c := compile(t, d, map[string]float64{"gate_bias": -1})
	if c.Checksum != kernel.Checksum(c.Artifact) {
		t.Error("checksum is not that of the artifact")
	}
	if c.GuardDigest != "c0e3ed3adc7800b37bf6f90a7156046c87111dcef83232afad8a9e0addde055f" {
		t.Errorf("guard digest %s", c.GuardDigest)
	}
	if diff := cmp.Diff([]string{"float32[8x32]"}, c.GuardSummary); diff != "" {
		t.Error(diff)
	}
	if c.ParameterCount != 2*(32*32+32) || c.MultiplyAdds < 2*32*32 {
		t.Errorf("%d parameters, %d multiply-adds", c.ParameterCount, c.MultiplyAdds)
	}
	checkTimings(t, "compile", c.CompileMs, c.CompileSamples, c.Extras())
	checkTimings(t, "prewarm", c.PrewarmMs, c.PrewarmSamples, c.Extras())
	if c.Strategy != "standard" || c.Parameters["gate_bias"] != -1 || c.Descriptor.GetBlueprintId() != "BP014" {
		t.Errorf("record: %+v", c)
	}
	if c.Architecture == "" || !strings.Contains(c.Reference, "Highway") {
		t.Errorf("documented as %q, %q", c.Architecture, c.Reference)
	}
}

// checkTimings holds the median and the percentiles to real runs.
func checkTimings(t *testing.T, what string, middle float64, samples []float64, extras map[string]any) {
	t.Helper()
	p50, p95 := extras[what+"_p50_ms"], extras[what+"_p95_ms"]
	sorted := slices.Sorted(slices.Values(samples))
	if len(samples) < 5 || sorted[0] <= 0 || p50 != middle || p50 != sorted[(len(sorted)-1)/2] {
		t.Errorf("%s: %v and p50 %v of %v", what, middle, p50, samples)
	}
	if at, ok := p95.(float64); !ok || !slices.Contains(samples, at) || at < middle {
		t.Errorf("%s: p95 %v of %v", what, p95, samples)
	}
}

func TestUpdateAnnouncesWhatWasMeasured(t *testing.T) {
	c := compile(t, find(t, "skip_connection"), nil)
	update := c.Update()
	if update.GetBlueprintId() != "BP008" || update.GetChecksum() != c.Checksum ||
		update.GetGuardDigest() != c.GuardDigest || update.GetCompileMs() != float32(c.CompileMs) ||
		update.GetPrewarmMs() != float32(c.PrewarmMs) || update.GetArtifactRef() != "" {
		t.Errorf("update: %v", update)
	}
}

func TestConservativeCompileGivesTheSameArtifact(t *testing.T) {
	d := find(t, "residual_block")
	conservative, err := approvedCompiler(32).CompileConservative(t.Context(), d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if conservative.Checksum != compile(t, d, nil).Checksum {
		t.Error("the strategy changed the artifact")
	}
	if conservative.Strategy != "conservative" || len(conservative.PrewarmSamples) != 1 {
		t.Errorf("strategy %s, %d samples", conservative.Strategy, len(conservative.PrewarmSamples))
	}
}

func TestGraphMetadataDescribesTheRealNetwork(t *testing.T) {
	c := compile(t, find(t, "residual_block"), map[string]float64{"depth": 2})
	text, err := json.Marshal(c.Extras())
	if err != nil {
		t.Fatal(err)
	}
	var extras struct {
		GuardSpec     []map[string]any `json:"guard_spec"`
		EagerFallback *bool            `json:"eager_fallback"`
		GraphMetadata struct {
			Layers []struct {
				LayerID string `json:"layer_id"`
				Type    string `json:"type"`
				Depth   int    `json:"depth"`
				Input   int    `json:"input_channels"`
				Output  int    `json:"output_channels"`
				Count   int    `json:"parameter_count"`
			} `json:"layers"`
			Activations  []map[string]any         `json:"activations"`
			Parameters   []map[string]any         `json:"parameters"`
			Adjacency    struct{ Layer [][2]int } `json:"adjacency"`
			Capabilities map[string]any           `json:"capabilities"`
			Source       string                   `json:"source"`
		} `json:"graph_metadata"`
	}
	if err := json.Unmarshal(text, &extras); err != nil {
		t.Fatal(err)
	}
	graph := extras.GraphMetadata
	var types []string
	total := 0
	for _, l := range graph.Layers {
		types = append(types, l.Type)
		total += l.Count
	}
	want := []string{"gemm", "relu", "gemm", "add", "gemm", "relu", "gemm", "add"}
	if diff := cmp.Diff(want, types); diff != "" || total != c.ParameterCount {
		t.Errorf("%d of %d parameters in layers %s", total, c.ParameterCount, diff)
	}
	edges := [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {3, 7}, {6, 7}}
	if diff := cmp.Diff(edges, graph.Adjacency.Layer); diff != "" {
		t.Errorf("edges: %s", diff)
	}
	parameter := map[string]any{"name": "depth", "min": 1.0, "max": 4.0, "default": 2.5, "span": 3.0}
	if diff := cmp.Diff([]map[string]any{parameter}, graph.Parameters); diff != "" {
		t.Error(diff)
	}
	if first := graph.Layers[0]; first.LayerID != "BP009-L0" || first.Input != 32 || first.Output != 32 {
		t.Errorf("first layer: %+v", first)
	}
	if graph.Source != "tezzeret" || graph.Capabilities == nil || len(graph.Activations) != len(graph.Layers) {
		t.Errorf("graph metadata: %+v", graph)
	}
	if extras.EagerFallback == nil || *extras.EagerFallback || len(extras.GuardSpec) != 1 {
		t.Errorf("extras: %s", text)
	}
}

func TestParametersOutsideTheDeclaredBoundsAreNotCompiled(t *testing.T) {
	cases := map[string]map[string]float64{
		"missing":      {},
		"undeclared":   {"scale": 1, "bias": 0},
		"below":        {"scale": 0.4},
		"above":        {"scale": 2.1},
		"not a number": {"scale": math.NaN()},
		"infinite":     {"scale": math.Inf(1)},
	}
	for name, params := range cases {
		_, err := approvedCompiler(32).Compile(t.Context(), find(t, "linear_projection"), params)
		if !errors.Is(err, tezzeret.ErrParameters) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestCompileStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := approvedCompiler(32).Compile(ctx, find(t, "relu_activation"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
