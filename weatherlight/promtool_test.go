package weatherlight

import (
	"os/exec"
	"strings"
	"testing"
)

// Prometheus's own checker finds nothing against /metrics of a service in which everything has
// happened.
func TestMetricsFollowTheConventions(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool not found: apt-get install prometheus")
	}
	r := everything(t)
	code, page := ask(t, r.Service, "/metrics")
	if code != 200 {
		t.Fatalf("/metrics answers %d", code)
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(page)
	if said, err := check.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool: %v\n%s", err, said)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
