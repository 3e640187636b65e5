package infra

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/esper-lite/weatherlight/nissa"
	"github.com/esper-lite/weatherlight/nissa/drill"
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
	judged(t, "promtool", "prometheus", "check", "config", "--syntax-only", "prometheus.yml") // the tokens lie elsewhere
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

// managerURL is where Nissa finds the Alertmanager beside it.
const managerURL = "alertmanager+http://alertmanager:9093"

// toAlertmanager are the shipped rules with Alertmanager in the place of all receivers.
func toAlertmanager(t *testing.T) []byte {
	t.Helper()
	_, written, begins := strings.Cut(string(nissa.ShippedRules(nissa.Thresholds{})), "\nrules:\n")
	if !begins {
		t.Fatal("the shipped rules have no rules")
	}
	written = regexp.MustCompile(`receivers: \[.*\]`).ReplaceAllString(written, "receivers: [alertmanager]")
	return []byte(`# The rules of nissa-rules.yml, which go to the Alertmanager beside Nissa: alertmanager.yml says who is told.
receivers:
  - name: alertmanager
    url: ` + managerURL + "\n\nrules:\n" + written)
}

// The file to copy is the one that Nissa has in itself, and so are the rules of the one for Alertmanager.
func TestRulesToCopyAreTheShippedOnes(t *testing.T) {
	for name, shipped := range map[string][]byte{
		"nissa-rules.yml": nissa.ShippedRules(nissa.Thresholds{}), "nissa-alertmanager.yml": toAlertmanager(t),
	} {
		path := filepath.Join(observability, name)
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(path, shipped, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal([]byte(read(t, path)), shipped) {
			t.Errorf("%s is out of date: UPDATE=1 go test ./infra -run RulesToCopy", path)
		}
	}
}

// Each rule of the file for Alertmanager arrives where it says.
func TestRulesForAlertmanagerArrive(t *testing.T) {
	results, err := drill.Run(t.Context(), drill.Config{Rules: []byte(read(t, observability, "nissa-alertmanager.yml"))})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Fault != "" || !slices.Contains(r.Receivers, "alertmanager") {
			t.Errorf("%s is told to %q: %s", r.Rule, r.Receivers, r.Fault)
		}
	}
}

func read(t testing.TB, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// observed is the deployment with what watches it.
func observed(t testing.TB) deployment {
	t.Helper()
	return resolve(t, "docker-compose.observability.yml")
}

// What the compose files mount is there, and the configuration names what it mounts.
func TestN24ComposeMountsTheObservabilityFiles(t *testing.T) {
	d := observed(t)
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
	rules := d.Services["nissa"].Environment["NISSA_RULES_FILE"]
	mount := filepath.Join(observability, "nissa-alertmanager.yml") + ":" + rules + ":ro"
	if mounted := strings.Join(d.Services["nissa"].Volumes, "\n"); rules == "" || !strings.Contains(mounted, mount) {
		t.Errorf("Nissa reads its rules from %q, and is given %s", rules, mounted)
	}
	for _, name := range []string{"prometheus", "alertmanager", "grafana"} {
		c := d.Services[name]
		if !c.ReadOnly || !slices.Contains(c.CapDrop, "ALL") || !slices.Contains(c.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it needs: %+v", name, c)
		}
	}
	for _, service := range d.Services {
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("open to the network: %s", port)
			}
		}
	}
	for _, target := range []string{"nissa:9100", "weatherlight", "alertmanager:9093"} {
		name, _, _ := strings.Cut(target, ":")
		if _, known := d.Services[name]; !known || !strings.Contains(read(t, observability, "prometheus.yml"), target) {
			t.Errorf("Prometheus does not ask %s, or there is no such service", target)
		}
	}
}

// Grafana finds the dashboards where the compose file mounts them, they ask the source that it is given, and each has a
// name of its own. What they ask for is checked against a run, by the end-to-end tests.
func TestGrafanaIsGivenTheDashboards(t *testing.T) {
	mounted := strings.Join(observed(t).Services["grafana"].Volumes, "\n")
	var sources struct{ Datasources []struct{ UID, URL string } }
	parse(t, &sources, observability, "grafana", "provisioning", "datasources", "prometheus.yml")
	var providers struct {
		Providers []struct{ Options struct{ Path string } }
	}
	parse(t, &providers, observability, "grafana", "provisioning", "dashboards", "esper.yml")
	for _, mount := range []string{
		filepath.Join(observability, "grafana") + ":" + providers.Providers[0].Options.Path + ":ro",
		filepath.Join(observability, "grafana", "provisioning") + ":/etc/grafana/provisioning:ro",
	} {
		if !strings.Contains(mounted, mount) {
			t.Errorf("Grafana has no %s: %s", mount, mounted)
		}
	}
	if got := sources.Datasources[0].URL; got != "http://prometheus:9090" {
		t.Errorf("Grafana asks %s", got)
	}
	files, err := filepath.Glob(filepath.Join(observability, "grafana", "*.json"))
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	known := make(map[string]string)
	for _, file := range files {
		var d struct {
			UID, Title string
			Panels     []struct {
				ID         int
				Title      string
				Datasource struct{ UID string }
			}
		}
		parse(t, &d, file)
		for _, name := range []string{d.UID, d.Title} {
			if name == "" || known[name] != "" {
				t.Errorf("%s and %s are both %q", file, known[name], name)
			}
			known[name] = file
		}
		panels := make(map[int]bool)
		for _, panel := range d.Panels {
			if panels[panel.ID] || panel.Title == "" || panel.Datasource.UID != sources.Datasources[0].UID {
				t.Errorf("%s: %+v", file, panel)
			}
			panels[panel.ID] = true
		}
	}
}

// parse reads a file of YAML, of which JSON is a part.
func parse(t testing.TB, into any, parts ...string) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, parts...)), into); err != nil {
		t.Fatalf("%s: %v", filepath.Join(parts...), err)
	}
}
