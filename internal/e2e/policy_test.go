package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
)

// policyFile writes a policy that begins whatever the rules put first, sees no risk, and has each
// seed culled that has come into the host.
func policyFile(t *testing.T) string {
	t.Helper()
	const features = network.Features
	const (
		one, stage, training = 0, 27, 3 // columns of a row, and the number of a stage
		worth, cull          = 0, 4     // columns of an answer
	)
	weights := make([]float32, features*features)
	weights[one*features+worth], weights[stage*features+cull], weights[one*features+cull] = 1, 1, 0.5-training
	b := kernel.NewBuilder("policy", features)
	b.Init("weights", kernel.FromSlice(weights, features, features))
	b.Node("MatMul", []string{"host", "weights"}, "seed")
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

// commanded waits for a command that was decided under a version, with that annotation.
func (w *world) commanded(annotation, version string) {
	w.t.Helper()
	eventually(w.t, "a command with "+annotation+" under "+version, growth, func() bool {
		entries, _ := w.bus.do("XRANGE", streamNormal, "-", "+").([]any)
		for _, entry := range entries {
			if text := flat(entry); strings.Contains(text, annotation) && strings.Contains(text, version) {
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

// couple are two instances of which the leader is killed again and again.
type couple struct{ leader, heir *world }

// killLeader leaves the heir alone.
func (c *couple) killLeader() { c.leader.process.kill() }

// back has the killed one back, once who was left leads: it would lead again.
func (c *couple) back(active, shadow float64) {
	c.leader.t.Helper()
	eventually(c.leader.t, "who was left leads", takeoverBound, c.heir.leads)
	c.leader.boot()
	c.leader.decidedBy(active, shadow)
	c.leader, c.heir = c.heir, c.leader
}

// train starts a run that the heir decides on alone, from its first report or from amid it.
func (c *couple) train(run string, amid bool) *goTrainer {
	c.heir.t.Helper()
	if !amid {
		c.killLeader()
	}
	trainer := c.heir.goTrainer(run, c.heir.t.TempDir(), false)
	if amid {
		eventually(c.heir.t, "the run is decided on", growth, func() bool { return c.heir.knows(run) })
		c.killLeader()
	}
	return trainer
}

// compared waits until a run was decided beside a policy in the shadow, which policy compare tells.
func (w *world) compared(of, version string) {
	w.t.Helper()
	eventually(w.t, "what the shadow would have begun is counted", growth, func() bool {
		_, view := w.get("/runs/" + of)
		return strings.Contains(view, version)
	})
	mustSay(w.t, "esperctl policy compare", run(w.t, w.folder, w.environ, "esperctl", "policy", "compare", "http://"+w.http), version)
}

// kept is what the folder of an instance has of policies.
func (w *world) kept() string { return run(w.t, w.folder, w.environ, "esperctl", "policy", "list") }

// TestPolicyIsShadowedComparedActivatedAndRolledBack with a kill -9 of the leader of two
// instances between all steps, after which the heir does the next step alone; and once more
// with the kill in the moment in which the step is asked for.
func TestPolicyIsShadowedComparedActivatedAndRolledBack(t *testing.T) {
	begin(t)
	first := newWorld(t, redistest.AOF()...)
	library := t.TempDir()
	first.environ = append(first.environ, "URZA_DATABASE_URL=sqlite:///"+library+"/catalog.db",
		"URZA_ARTIFACT_DIR="+library+"/artifacts", "TAMIYO_STALL_EPOCHS=2")
	first.bootForged()
	second := first.second()
	second.bootForged()
	both := &couple{first, second}
	policy := policyFile(t)
	for _, amid := range []bool{false, true} {
		version := fmt.Sprint("policy-of-e2e-", amid)
		// step asks for something, and waits until the heir has come to it.
		step := func(active, shadow float64, there func() bool, args ...string) string {
			t.Helper()
			if !amid {
				both.killLeader()
			}
			said := run(t, both.heir.folder, both.heir.environ, "esperctl", append([]string{"policy"}, args...)...)
			if amid {
				both.killLeader()
			}
			both.heir.decidedBy(active, shadow)
			eventually(t, "the heir has come to it", patience, there)
			both.back(active, shadow)
			return strings.TrimSpace(said)
		}
		done := func() bool { return true }
		digest := step(0, 0, func() bool { return strings.Contains(both.heir.kept(), version) },
			"publish", policy, "--id", "p", "--policy-version", version)
		step(0, 1, done, "shadow", digest)
		shadowed := both.train(fmt.Sprint("shadowed-", amid), amid)
		both.heir.compared(fmt.Sprint("shadowed-", amid), version)
		shadowed.kill()
		both.back(0, 1)
		step(1, 0, done, "activate", digest)
		both.train("decided-"+version, amid)
		both.heir.commanded("blueprint_worth", version)
		both.heir.commanded("policy_answer", version)
		mustSay(t, "esperctl policy list", both.heir.kept(), version, "active")
		both.back(1, 0)
		step(0, 0, done, "rollback")
		mustSay(t, "esperctl policy list", both.leader.kept(), version)
	}
	for _, w := range []*world{first, second} {
		if code, _ := w.get("/readyz"); code != http.StatusOK {
			t.Errorf("/readyz is %d at the end", code)
		}
		w.stop()
	}
	for _, letter := range first.deadLetters("") {
		if letter["stream"] == streamPolicy {
			t.Errorf("dead letter %v", letter)
		}
	}
}
