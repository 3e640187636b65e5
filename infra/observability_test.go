package infra

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/nissa"
)

const observability = "observability"

// judged runs a checker of Debian's packages beside the files.
func judged(t *testing.T, tool, debian string, words ...string) {
	t.Helper()
	binary, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("%s not found: apt-get install %s", tool, debian)
	}
	check := exec.CommandContext(t.Context(), binary, words...)
	check.Dir = observability
	if said, err := check.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", tool, strings.Join(words, " "), err, said)
	}
}

func TestObservabilityFilesAreInOrder(t *testing.T) {
	judged(t, "promtool", "prometheus", "check", "config", "prometheus.yml")
	judged(t, "promtool", "prometheus", "check", "rules", "rules.yml")
	judged(t, "promtool", "prometheus", "test", "rules", "rules_test.yml")
	judged(t, "amtool", "prometheus-alertmanager", "check-config", "alertmanager.yml")
}

// Every rule of Prometheus is one that rules_test.yml raises.
func TestEveryRuleOfPrometheusIsTested(t *testing.T) {
	text, tested := read(t, observability, "rules.yml"), read(t, observability, "rules_test.yml")
	for line := range strings.Lines(text) {
		if _, name, is := strings.Cut(strings.TrimSpace(line), "- alert: "); is && !strings.Contains(tested, "alertname: "+name+"\n        exp_alerts") {
			t.Errorf("nothing raises %s", name)
		}
	}
}

// The file to copy is the one that Nissa has in itself.
func TestRulesToCopyAreTheShippedOnes(t *testing.T) {
	path := filepath.Join(observability, "nissa-rules.yml")
	shipped := nissa.ShippedRules(nissa.Thresholds{})
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, shipped, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal([]byte(read(t, observability, "nissa-rules.yml")), shipped) {
		t.Errorf("%s is out of date: UPDATE=1 go test ./infra -run RulesToCopy", path)
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What the compose file mounts is there, and the configuration names what it mounts.
func TestN24ComposeMountsTheObservabilityFiles(t *testing.T) {
	d := resolve(t, "docker-compose.observability.yml")
	for name, wanted := range map[string][]string{
		"prometheus": {"prometheus.yml", "rules.yml"}, "alertmanager": {"alertmanager.yml"},
	} {
		mounted := strings.Join(d.Services[name].Volumes, "\n")
		for _, file := range wanted {
			if !strings.Contains(mounted, filepath.Join(observability, file)+":/etc/"+name+"/"+file+":ro") {
				t.Errorf("%s has no %s: %s", name, file, mounted)
			}
		}
	}
	for _, target := range []string{"nissa:9100", "weatherlight:9180", "alertmanager:9093"} {
		name, _, _ := strings.Cut(target, ":")
		if _, known := d.Services[name]; !known || !strings.Contains(read(t, observability, "prometheus.yml"), target) {
			t.Errorf("Prometheus does not ask %s, or there is no such service", target)
		}
	}
}
