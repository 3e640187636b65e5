package kasmina

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestParseMesh(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("x,", 5) + "y"
	over := "a"
	for i := range maxMeshLayers {
		over += "," + strings.Repeat("b", i+1)
	}
	tests := []struct {
		text string
		want []string // nil: refused
	}{
		{`["weight","bias"]`, []string{"weight", "bias"}},
		{`["b","a","b",null," "]`, []string{"b", "a"}},
		{`"root"`, []string{"root"}},
		{"a, b ,,a", []string{"a", "b"}},
		{many, []string{"x", "y"}},
		{"__root__", []string{"__root__"}},
		{`{}`, nil},
		{`{"a":1}`, nil},
		{`7`, nil},
		{`true`, nil},
		{`[1]`, nil},
		{`[]`, nil},
		{`[null," "]`, nil},
		{`["a",`, nil},
		{",,", nil},
		{over, nil},
	}
	for _, tt := range tests {
		got, err := parseMesh(tt.text)
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("parseMesh(%.40q) = %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
}

func seedCommandOf(op leyline.SeedOperation, annotations map[string]string) *leyline.AdaptationCommand {
	return &leyline.AdaptationCommand{
		CommandId: "c", CommandType: leyline.CommandType_COMMAND_SEED, TargetSeedId: "s",
		Payload: &leyline.AdaptationCommand_SeedOperation{SeedOperation: &leyline.CommandSeedOperation{
			Operation: op, BlueprintId: "BP001",
		}},
		Annotations: annotations,
	}
}

func TestSeedCommandAnnotations(t *testing.T) {
	t.Parallel()
	base := map[string]string{"training_run_id": " run ", "mesh_host_layers": "a"}
	with := func(pairs ...string) map[string]string {
		all := maps.Clone(base)
		maps.Copy(all, pairsToMap(pairs))
		return all
	}
	const germinate, cull = leyline.SeedOperation_SEED_OP_GERMINATE, leyline.SeedOperation_SEED_OP_CULL
	tests := []struct {
		name        string
		op          leyline.SeedOperation
		annotations map[string]string
		reason      string
	}{
		{"good", germinate, base, ""},
		{"alias", germinate, map[string]string{"training_run_id": "r", "mesh_layers": "a"}, ""},
		{"no run", germinate, map[string]string{"mesh_host_layers": "a"}, ReasonMissingTrainingRunID},
		{"blank run", cull, map[string]string{"training_run_id": "  "}, ReasonMissingTrainingRunID},
		{"no mesh", germinate, map[string]string{"training_run_id": "r"}, ReasonMissingMeshLayers},
		{"object mesh", germinate, with("mesh_host_layers", "{}"), ReasonInvalidMeshLayers},
		{"cull needs no mesh", cull, map[string]string{"training_run_id": "r"}, ""},
		{"cancel needs no mesh", leyline.SeedOperation_SEED_OP_CANCEL, map[string]string{"training_run_id": "r"}, ""},
		{"evaluate needs a mesh", leyline.SeedOperation_SEED_OP_EVALUATE,
			map[string]string{"training_run_id": "r"}, ReasonMissingMeshLayers},
		{"logits missing", germinate, with("confidence_logits_required", "TRUE"), ReasonMissingLogits},
		{"logits broken", germinate, with("blend_mode", "confidence", "confidence_logits_required", "true",
			"confidence_logits", "[x"), ReasonInvalidBlend},
		{"logits good", germinate, with("blend_mode", "confidence", "confidence_logits_required", "true",
			"confidence_logits", "[0.1,0.5,-0.2]"), ""},
		{"channel without vector", germinate, with("blend_mode", "CHANNEL"), ReasonInvalidBlend},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			order, fault := readSeedOrder(seedCommandOf(tt.op, tt.annotations))
			if fault == nil {
				fault = &annotationFault{}
			}
			if fault.reason != tt.reason {
				t.Errorf("refused with %+v, want %q", fault, tt.reason)
			}
			if tt.reason == "" && (order.seedID != "s" || order.runID == "" || strings.Contains(order.runID, " ")) {
				t.Errorf("read %+v", order)
			}
		})
	}
}

func TestBlankIdentifiersAreRefused(t *testing.T) {
	t.Parallel()
	command := seedCommandOf(leyline.SeedOperation_SEED_OP_CULL, map[string]string{"training_run_id": "r"})
	command.TargetSeedId = " "
	if _, fault := readSeedOrder(command); fault == nil || fault.reason != ReasonMissingSeedID {
		t.Errorf("blank seed: %+v", fault)
	}
	command.TargetSeedId = "s"
	command.GetSeedOperation().BlueprintId = ""
	if _, fault := readSeedOrder(command); fault == nil || fault.reason != ReasonMissingBlueprintID {
		t.Errorf("blank blueprint: %+v", fault)
	}
}

func TestParseBlend(t *testing.T) {
	t.Parallel()
	long := strings.TrimSuffix(strings.Repeat("0.5,", maxChannels+1), ",")
	tests := []struct {
		name        string
		annotations []string
		want        BlendConfig
		refused     bool
	}{
		{"none", nil, BlendConfig{Mode: BlendConvex}, false},
		{"unknown", []string{"blend_mode", " cosine "}, BlendConfig{Mode: BlendConvex, Configured: true}, false},
		{"residual", []string{"blend_mode", "residual", "blend_mode_source", "policy"},
			BlendConfig{Mode: BlendResidual, Source: "policy", Configured: true}, false},
		{"confidence defaults", []string{"blend_mode", "CONFIDENCE"},
			BlendConfig{Mode: BlendConfidence, GateK: 4, GateTau: 0.2, AlphaTop: 1, Configured: true}, false},
		{"confidence clamps and swaps", []string{"blend_mode", "CONFIDENCE", "gate_k", "-1", "gate_tau", "x",
			"alpha_lo", "0.9", "alpha_hi", "0.1"},
			BlendConfig{Mode: BlendConfidence, GateTau: 0.2, AlphaLow: 0.1, AlphaTop: 0.9, Configured: true}, false},
		{"confidence bounds", []string{"blend_mode", "CONFIDENCE", "alpha_lo", "-3", "alpha_hi", "8"},
			BlendConfig{Mode: BlendConfidence, GateK: 4, GateTau: 0.2, AlphaTop: 1, Configured: true}, false},
		{"nan gate", []string{"blend_mode", "CONFIDENCE", "gate_k", "nan"}, BlendConfig{}, true},
		{"nan bound", []string{"blend_mode", "CONFIDENCE", "alpha_hi", "NaN"}, BlendConfig{}, true},
		{"channels", []string{"blend_mode", "channel", "alpha_vec", "[0.2, 1.7, -1]", "alpha_vec_len", "3"},
			BlendConfig{Mode: BlendChannel, Channels: []float32{0.2, 1, 0}, Configured: true}, false},
		{"channels by commas", []string{"blend_mode", "CHANNEL", "alpha_vec", "0.5,0.25"},
			BlendConfig{Mode: BlendChannel, Channels: []float32{0.5, 0.25}, Configured: true}, false},
		{"channels cut short", []string{"blend_mode", "CHANNEL", "alpha_vec", "[0.1,"},
			BlendConfig{Mode: BlendChannel, Channels: []float32{0.1}, Configured: true}, false},
		{"nan channel", []string{"blend_mode", "CHANNEL", "alpha_vec", "0.5,nan"}, BlendConfig{}, true},
		{"empty channels", []string{"blend_mode", "CHANNEL", "alpha_vec", "[]"}, BlendConfig{}, true},
		{"object channels", []string{"blend_mode", "CHANNEL", "alpha_vec", "{}"}, BlendConfig{}, true},
		{"too many channels", []string{"blend_mode", "CHANNEL", "alpha_vec", long}, BlendConfig{}, true},
		{"length is text", []string{"blend_mode", "CHANNEL", "alpha_vec", "1", "alpha_vec_len", "one"},
			BlendConfig{}, true},
		{"length differs", []string{"blend_mode", "CHANNEL", "alpha_vec", "1", "alpha_vec_len", "2"},
			BlendConfig{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseBlend(pairsToMap(tt.annotations))
			if (err != nil) != tt.refused {
				t.Fatalf("%+v, %v", got, err)
			}
			if !tt.refused && !sameBlend(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func sameBlend(a, b BlendConfig) bool {
	return a.Mode == b.Mode && a.Source == b.Source && slices.Equal(a.Channels, b.Channels) &&
		a.GateK == b.GateK && a.GateTau == b.GateTau && a.AlphaLow == b.AlphaLow && a.AlphaTop == b.AlphaTop &&
		a.Configured == b.Configured
}

func FuzzAnnotations(f *testing.F) {
	f.Add("weight,bias", "CONFIDENCE", "[0.1,", "nan", "0.5", "true", "[1,2]")
	f.Add(`["a"]`, "channel", "0.2,0.4", "4", "", "false", "")
	f.Add(`{}`, "", "[]", "-1", "1e400", "", "{")
	f.Fuzz(func(t *testing.T, mesh, mode, vector, gate, bound, required, logits string) {
		order, fault := readSeedOrder(seedCommandOf(leyline.SeedOperation_SEED_OP_GERMINATE, map[string]string{
			"training_run_id": "r", "mesh_host_layers": mesh, "blend_mode": mode, "alpha_vec": vector,
			"gate_k": gate, "gate_tau": gate, "alpha_lo": bound, "alpha_hi": gate,
			"confidence_logits_required": required, "confidence_logits": logits,
		}))
		if fault != nil {
			return
		}
		if len(order.mesh) == 0 || len(order.mesh) > maxMeshLayers || len(order.blend.Channels) > maxChannels {
			t.Fatalf("accepted %+v", order)
		}
		for _, weight := range order.blend.Channels {
			if !(weight >= 0 && weight <= 1) {
				t.Fatalf("channel weight %v", weight)
			}
		}
		low, top := order.blend.AlphaLow, order.blend.AlphaTop
		if !(low >= 0 && low <= top && top <= 1) || math.IsNaN(order.blend.GateK) || order.blend.GateTau < 0 {
			t.Fatalf("confidence bounds %+v", order.blend)
		}
	})
}
