package tamiyo

import (
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// until reports by a function until a command comes, and returns it.
func until(t testing.TB, operation string, report func() Decision) *leyline.AdaptationCommand {
	t.Helper()
	for range 20 {
		for _, command := range report().Commands {
			if operationName(command) == operation {
				return command
			}
		}
	}
	t.Fatalf("no %s", operation)
	return nil
}

func TestASeedThatIsGivenUpSaysWhichRulesFired(t *testing.T) {
	t.Parallel()
	t.Run("its blueprint must not be begun any more", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, Config{})
		r.stall()
		r.next.Blueprint = know(quarantined("BP002"))
		cull := until(t, "SEED_OP_CULL", func() Decision { return r.report(1) })
		if got := cull.GetAnnotations(); got["rules"] != "bp_quarantine of BP002 tier=BLUEPRINT_TIER_SAFE" || got["risk_reason"] != "bp_quarantine" {
			t.Errorf("annotations %v", got)
		}
	})
	t.Run("it never showed", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, Config{})
		r.stall()
		for range maxGerminations - 1 {
			until(t, "SEED_OP_GERMINATE", func() Decision { return r.report(1) })
		}
		slow := map[string]float32{"step_latency_ms": 250}
		cull := until(t, "SEED_OP_CULL", func() Decision { return r.metricsReport(slow) })
		if got := cull.GetAnnotations(); got["rules"] != "step_latency_high step_latency_ms=250" || got["risk_reason"] != causeNoEffect {
			t.Errorf("annotations %v", got)
		}
	})
}
