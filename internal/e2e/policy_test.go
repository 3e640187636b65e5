package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kernel"
)

// policyFile writes a policy that begins whatever the rules put first, and sees no risk.
func policyFile(t *testing.T) string {
	t.Helper()
	const features = 24
	mask := make([]float32, features)
	mask[0] = 1 // of the row, whose first feature is 1
	b := kernel.NewBuilder("policy", features)
	b.Init("mask", kernel.FromSlice(mask, features))
	b.Node("Mul", []string{"host", "mask"}, "seed")
	file, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "policy.onnx")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// decidedBy waits until an instance has a policy in force, or none.
func (w *world) decidedBy(active, shadow float64) {
	w.t.Helper()
	eventually(w.t, "what is in force is known", patience, func() bool {
		return w.metric("tamiyo_policy_active") == active && w.metric("tamiyo_policy_shadow") == shadow
	})
}

// germinated waits for a germination that was decided under a version.
func (w *world) germinated(version string) {
	w.t.Helper()
	eventually(w.t, "a seed is begun under "+version, growth, func() bool {
		entries, _ := w.bus.do("XRANGE", streamNormal, "-", "+").([]any)
		for _, entry := range entries {
			if text := flat(entry); strings.Contains(text, "blueprint_worth") && strings.Contains(text, version) {
				return true
			}
		}
		return false
	})
}

// flat is all the text of an answer of Redis.
func flat(answer any) string {
	switch v := answer.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	case []any:
		var text strings.Builder
		for _, part := range v {
			text.WriteString(flat(part))
		}
		return text.String()
	default:
		return ""
	}
}

// TestPolicyIsShadowedActivatedDecidesAndIsRolledBack with a kill -9 of one of two instances
// between all steps.
func TestPolicyIsShadowedActivatedDecidesAndIsRolledBack(t *testing.T) {
	begin(t)
	first := newWorld(t, redistest.AOF()...)
	library := t.TempDir()
	first.environ = append(first.environ, "URZA_DATABASE_URL=sqlite:///"+library+"/catalog.db",
		"URZA_ARTIFACT_DIR="+library+"/artifacts", "TAMIYO_STALL_EPOCHS=2")
	first.bootForged()
	second := first.second()
	second.bootForged()
	both := []*world{first, second}
	victim := 0
	step := func(active, shadow float64, args ...string) string {
		t.Helper()
		said := run(t, first.folder, first.environ, "esperctl", append([]string{"policy"}, args...)...)
		for _, w := range both {
			w.decidedBy(active, shadow)
		}
		both[victim].process.kill()
		both[victim].boot()
		both[victim].decidedBy(active, shadow)
		victim = 1 - victim
		return said
	}
	digest := strings.TrimSpace(step(0, 0, "publish", policyFile(t), "--id", "p", "--policy-version", "policy-of-e2e"))
	step(0, 1, "shadow", digest)
	step(1, 0, "activate", digest)
	first.goTrainer("decided", t.TempDir(), false)
	first.germinated("policy-of-e2e")
	mustSay(t, "esperctl policy list", run(t, first.folder, first.environ, "esperctl", "policy", "list"), "policy-of-e2e", "active")
	step(0, 0, "rollback")
	for _, w := range both {
		w.stop()
	}
}
