package tamiyo

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// explained is what a report says beyond its figures.
func explained(report *leyline.FieldReport) map[string]string {
	said := map[string]string{}
	for _, action := range report.GetFollowUpActions() {
		said[action.GetActionType()] = action.GetRationale()
	}
	return said
}

func TestAFieldReportSaysWhichRulesFiredAndWhatWasConsidered(t *testing.T) {
	t.Parallel()
	const considered = "BP002 at layer1: 0.438; BP003 at layer1: 0.219; BP001 at layer1: not for want of parameters"
	slow := map[string]float32{"step_latency_ms": 250}
	t.Run("of a seed that was taken out", func(t *testing.T) {
		t.Parallel()
		r, id := growing(t, Config{})
		decision := r.metricsReport(slow, seedState(id, stageCulled))
		want := map[string]string{
			"considered": considered, "rules": "step_latency_high step_latency_ms=250", "write_off": "BP002 at layer1: removed_by_host",
		}
		if diff := cmp.Diff(want, explained(decision.Reports[0])); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("of one that was kept, and of what a window showed", func(t *testing.T) {
		t.Parallel()
		r, id := growing(t, Config{ObservationWindow: 2})
		kept := seedState(id, stageFossilized)
		if diff := cmp.Diff(map[string]string{"considered": considered}, explained(r.report(1, kept).Reports[0])); diff != "" {
			t.Error(diff)
		}
		r.report(1, kept)
		want := map[string]string{"rules": "step_latency_high step_latency_ms=250"}
		if diff := cmp.Diff(want, explained(r.metricsReport(slow, kept).Reports[0])); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("of one that is given up", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, Config{})
		r.stall()
		again := until(t, "SEED_OP_GERMINATE", func() Decision { return r.report(1) })
		if got := again.GetAnnotations()["considered"]; got != considered {
			t.Errorf("asked for again, considered %q", got)
		}
		r.next.Blueprint = know(quarantined("BP002"))
		until(t, "SEED_OP_CULL", func() Decision { return r.report(1) })
		got := explained(r.decisions[len(r.decisions)-1].Reports[0])
		if got["considered"] != considered || got["rules"] != "bp_quarantine of BP002 tier=BLUEPRINT_TIER_SAFE" {
			t.Errorf("explained as %v", got)
		}
	})
	t.Run("as far as there is room", func(t *testing.T) {
		t.Parallel()
		r := newRun(t, Config{})
		many := []Candidate{safe("odd \"<>&", 9)}
		for i := range 100 {
			many = append(many, safe(strings.Repeat("b", 120)+strconv.Itoa(i), 100+i))
		}
		r.candidates = offer(many...)
		id := r.stall().GetTargetSeedId()
		got := explained(r.report(1, seedState(id, stageCulled)).Reports[0])["considered"]
		if len(got) > maxConsidered || !strings.HasSuffix(got, "; and 99 more") {
			t.Errorf("considered %q", got)
		}
	})
}
