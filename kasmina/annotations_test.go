package kasmina

import (
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestParseMesh(t *testing.T) {
	t.Parallel()
	over := "a"
	for i := range maxMeshLayers {
		over += ",b" + number(i)
	}
	tests := []struct {
		text string
		want []string // nil: refused
	}{
		{`["weight","bias"]`, []string{"weight", "bias"}},
		{`["b","a","b",null," "]`, []string{"b", "a"}},
		{`"root"`, []string{"root"}},
		{"a, b ,,a", []string{"a", "b"}},
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
		{strings.Repeat("x", 200), nil},
	}
	for _, tt := range tests {
		got, err := parseMesh(tt.text)
		if (err != nil) != (tt.want == nil) || !slices.Equal(got, tt.want) {
			t.Errorf("parseMesh(%.40q) = %v, %v, want %v", tt.text, got, err, tt.want)
		}
	}
}

func TestIdentifiersAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.meet()
	long := strings.Repeat("x", 129)
	for reason, change := range map[string]change{
		ReasonMissingSeedID:      func(c *leyline.AdaptationCommand) { c.TargetSeedId = " " },
		ReasonMissingBlueprintID: func(c *leyline.AdaptationCommand) { c.GetSeedOperation().BlueprintId = "" },
		ReasonIdentifierTooLong:  func(c *leyline.AdaptationCommand) { c.TargetSeedId = long },
	} {
		w.rejects(w.command(opGerminate, "s", change), reason)
		w.rejects(w.command(opCull, "s", change), reason)
	}
}

func FuzzSeedCommand(f *testing.F) {
	f.Add("weight,bias", "CONFIDENCE", "[0.1,", "nan", "0.5", "true", "[1,2]", "linear", "3")
	f.Add(`["a"]`, "channel", "0.2,0.4,1", "4", "", "false", "", "", "")
	f.Add(`{}`, "", "[]", "-1", "1e400", "", "{", "sigmoid", "1e9")
	f.Fuzz(func(t *testing.T, mesh, mode, vector, gate, bound, required, logits, shape, count string) {
		for _, text := range []*string{&mesh, &mode, &vector, &gate, &bound, &required, &logits, &shape, &count} {
			*text = strings.ToValidUTF8(*text, "") // nothing else comes over the wire
		}
		w := newWorld(t)
		w.meet()
		command := w.command(opGerminate, "s", func(c *leyline.AdaptationCommand) {
			c.Annotations = map[string]string{
				"training_run_id": testRun, "mesh_host_layers": mesh, "blend_mode": mode, "alpha_vec": vector,
				"gate_k": gate, "gate_tau": gate, "alpha_lo": bound, "alpha_hi": gate,
				"confidence_logits_required": required, "confidence_logits": logits,
				"alpha_schedule": shape, "alpha_steps": count, "promotion_plateau": count, "promotion_sigma": bound,
			}
		})
		if d := w.decide(Command{command}); d.Rejected == nil {
			w.decide(w.ready(w.lastRequest()))
			w.report()
		}
	})
}

func FuzzRequestID(f *testing.F) {
	f.Add("prefetch-cnVu.cw.1.1")
	f.Add("prefetch-....")
	f.Fuzz(func(t *testing.T, id string) {
		name, ok := readRequestName(id)
		if !ok {
			return
		}
		if again, ok := readRequestName(name.String()); !ok || again != name {
			t.Errorf("%q reads as %+v and then %+v", id, name, again)
		}
	})
}
