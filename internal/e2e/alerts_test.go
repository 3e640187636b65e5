package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/database"
	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/hooktest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// duty is who is told, by a webhook.
type duty struct{ *hooktest.Hook }

func onDuty(t testing.TB) *duty {
	t.Helper()
	return &duty{hooktest.New(t)}
}

// all says of each alert which way it came.
func (d *duty) all() string {
	var told []string
	for _, a := range d.Told() {
		told = append(told, strings.Join([]string{strings.TrimPrefix(a.Path, "/"), a.Status, a.Labels["alertname"], a.Labels["alarm"]}, " "))
	}
	return strings.Join(told, "\n")
}

func (d *duty) hears(t *testing.T, words ...string) {
	t.Helper()
	for _, what := range words {
		eventually(t, "the one on duty hears "+what, patience, func() bool { return strings.Contains(d.all(), what) })
	}
}

// alertmanager runs Debian's, which tells a webhook, and returns its address.
func alertmanager(t *testing.T, hook string) string {
	t.Helper()
	folder, addr := t.TempDir(), freeport.Must(t)
	mustWrite(t, filepath.Join(folder, "config.yml"), fmt.Sprintf(`route: {receiver: duty, group_wait: 0s, group_interval: 1s, group_by: [alertname]}
receivers: [{name: duty, webhook_configs: [{url: %q, send_resolved: true}]}]
`, hook))
	daemon(t, folder, "prometheus-alertmanager", "--config.file=config.yml", "--storage.path=data",
		"--web.listen-address="+addr, "--cluster.listen-address=")
	return addr
}

func mustWrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rulesToCopy are the shipped rules with receivers, and with short times.
func rulesToCopy(t *testing.T, hook, manager string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "infra", "observability", "nissa-rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"- name: pager\n", "- name: pager\n    url: "+hook+"/secret-path\n", "- name: chat\n", "- name: chat\n    url: alertmanager+http://"+manager+"\n",
		"interval: 30s", "interval: 100ms", "quiet: 15m", "quiet: 2s",
	).Replace(string(text))
}

// TestNissaTellsOfAnEmergencyAndOfABusThatIsGone with the built commands, a webhook and a real Alertmanager: each alert
// arrives over both, and its end too, over a kill of Nissa and a file of rules that is not in order.
func TestNissaTellsOfAnEmergencyAndOfABusThatIsGone(t *testing.T) {
	begin(t)
	w, d := newWorld(t, redistest.AOF()...), onDuty(t)
	w.boot()
	folder, addr := t.TempDir(), freeport.Must(t)
	rules := filepath.Join(folder, "rules.yml")
	mustWrite(t, rules, rulesToCopy(t, d.URL, alertmanager(t, d.URL+"/manager")))
	environ := slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + addr, "NISSA_RULES_FILE=" + rules})
	nissa := func() *process {
		p := launch(t, folder, environ, nissaService)
		eventually(t, "Nissa is ready", patience, func() bool {
			code, _, err := get(addr, "/readyz")
			return err == nil && code == http.StatusOK
		})
		return p
	}
	p := nissa()
	w.sendDated("oona.emergency", typeEmergency, &leyline.EmergencySignal{
		Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Origin: "e2e", Reason: "heat", TriggeredAt: timestamppb.Now(),
	}, w.busTime())
	d.hears(t, "secret-path firing halt", "manager firing halt", "secret-path resolved halt", "manager resolved halt")

	if err := os.Rename(rules, rules+".good"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, rules, "rules: 3")
	p.signal(syscall.SIGHUP)
	eventually(t, "Nissa says that the rules stay", patience, func() bool {
		return strings.Contains(p.stderr.String(), "the rules stay as they were")
	})

	w.redis.Kill()
	d.hears(t, "secret-path firing bus_down", "manager firing bus_down")
	eventually(t, "the state is written", patience, func() bool {
		return strings.Contains(judged(t, filepath.Join(folder, "var", "nissa", "runs.db")), `"rule":"bus_down"`)
	})
	p.kill()
	mustNotSay(t, "Nissa", p.stderr.String(), "secret-path")
	if err := os.Rename(rules+".good", rules); err != nil {
		t.Fatal(err)
	}
	w.redis.Restart()
	p = nissa()
	d.hears(t, "secret-path resolved bus_down", "manager resolved bus_down")
	if _, body, err := get(addr, "/api/alerts"); err != nil || !strings.Contains(body, `"alerts":[`) || strings.Contains(body, "secret-path") {
		t.Errorf("/api/alerts: %v\n%s", err, body)
	}
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d after %s", code, took)
	}
}

// judged is what Nissa has written of its alerts.
func judged(t *testing.T, path string) (state string) {
	t.Helper()
	db, err := database.Look("sqlite:///" + path)
	if err == nil {
		err = errors.Join(db.QueryRowContext(t.Context(), "SELECT state FROM nissa_judged").Scan(&state), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// TestAlertsOutliveTheNissaThatJudges with two Nissas on one bus and one store, the judge of which is killed at
// any moment while alerts come: each is told, and its end too.
func TestAlertsOutliveTheNissaThatJudges(t *testing.T) {
	begin(t)
	w, d := newWorld(t), onDuty(t)
	folder := t.TempDir()
	rules := filepath.Join(folder, "rules.yml")
	const alerts = 200
	text := fmt.Sprintf("grouping: {wait: 1ms, interval: 1ms}\nreceivers: [{name: duty, url: '%s/told', per_minute: 6000}]\nrules:\n", d.URL)
	var fire, end []string
	for n := range alerts {
		text += fmt.Sprintf("- {name: hot%d, summary: s, severity: info, metric: heat%[1]d, when: value > 9, receivers: duty}\n", n)
		fire, end = append(fire, fmt.Sprintf("told firing hot%d ", n)), append(end, fmt.Sprintf("told resolved hot%d ", n))
	}
	mustWrite(t, rules, text)
	nissa := func(name string) (*process, string) {
		addr := freeport.Must(t)
		p := launch(t, folder, slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + addr, "NISSA_RULES_FILE=" + rules, "WEATHERLIGHT_INSTANCE=" + name}),
			nissaService)
		eventually(t, name+" is ready", patience, func() bool {
			code, _, err := get(addr, "/readyz")
			return err == nil && code == http.StatusOK
		})
		return p, addr
	}
	judges := func(addr string) bool {
		_, body, err := get(addr, "/metrics")
		return err == nil && strings.Contains(body, "\nnissa_alerts_judging 1\n")
	}
	heat := func(value float64, n int) {
		packet := telemetry.New("oven", "e2e").Metric(fmt.Sprint("heat", n), value, "").Build()
		w.sendDated("oona.telemetry", typeTelemetry, packet, w.busTime())
	}
	judge, addr := nissa("first")
	eventually(t, "the first judges", patience, func() bool { return judges(addr) })
	_, other := nissa("second")
	for n := range alerts {
		if n == alerts/2 {
			judge.kill()
		}
		heat(12, n)
	}
	d.hears(t, fire...)
	if !judges(other) {
		t.Error("the second does not judge")
	}
	for n := range alerts {
		heat(1, n)
	}
	d.hears(t, end...)
}

// A file of rules that is not in order keeps Nissa from starting, and says where.
func TestNissaDoesNotStartWithRulesThatAreNotInOrder(t *testing.T) {
	begin(t)
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "rules.yml")
	mustWrite(t, path, "rules:\n- {name: a, summary: s, severity: loud, metric: m, when: value >}\n")
	p := launch(t, t.TempDir(), append(w.environ, "NISSA_RULES_FILE="+path), nissaService)
	if code, _ := p.exit(30 * time.Second); code != 2 {
		t.Errorf("exit code %d", code)
	}
	mustSay(t, "Nissa", p.stderr.String(), "NISSA_RULES_FILE", "line 2: a severity is info", "line 2: value >")
}

// TestDrill runs the built command, which is what operators run.
func TestDrill(t *testing.T) {
	begin(t)
	stdout := run(t, t.TempDir(), nil, "esperctl", "drill")
	mustSay(t, "the drill", stdout, "bus_down", "RESULT drill rules=29 arrived=29")
	t.Log(stdout)
}

// TestWorkInHandOfAKilledNissaIsTakenOver though it does not judge: what it had read of the bus raises its alert within
// seconds of the kill, not after the minute for which the bus would wait for it.
func TestWorkInHandOfAKilledNissaIsTakenOver(t *testing.T) {
	begin(t)
	const within = 10 * time.Second
	w, d := newWorld(t), onDuty(t)
	folder := t.TempDir()
	rules := filepath.Join(folder, "rules.yml")
	mustWrite(t, rules, fmt.Sprintf("grouping: {wait: 1ms, interval: 1ms}\nreceivers: [{name: duty, url: '%s/told', per_minute: 6000}]\n"+
		"rules: [{name: hot, summary: s, severity: info, metric: heat, when: value > 9, by: oven, receivers: duty}]\n", d.URL))
	start := func(name string) (*process, string) {
		addr := freeport.Must(t)
		p := launch(t, folder, slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + addr, "NISSA_RULES_FILE=" + rules, "WEATHERLIGHT_INSTANCE=" + name}),
			nissaService)
		eventually(t, name+" is ready", patience, func() bool {
			code, _, err := get(addr, "/readyz")
			return err == nil && code == http.StatusOK
		})
		return p, addr
	}
	_, judge := start("first")
	eventually(t, "the first judges", patience, func() bool {
		_, body, err := get(judge, "/metrics")
		return err == nil && strings.Contains(body, "\nnissa_alerts_judging 1\n")
	})
	other, _ := start("second")
	sent := 0
	eventually(t, "the second has work in hand", patience, func() bool {
		other.signal(syscall.SIGSTOP)
		packet := telemetry.New("oven", "e2e").Metric("heat", 12, "", "oven", fmt.Sprint(sent)).Build()
		w.sendDated("oona.telemetry", typeTelemetry, packet, w.busTime())
		sent++
		if pending, _ := w.bus.do("XPENDING", "oona.telemetry", nissaGroup, "-", "+", "100", "nissa-second").([]any); len(pending) > 0 {
			return true
		}
		other.signal(syscall.SIGCONT) // it did not wait just then, or the first did for longer
		return false
	})
	other.kill()
	killed := time.Now()
	eventually(t, "all alerts are told", 2*time.Minute, func() bool {
		return strings.Count(d.all(), "told firing hot") == sent
	})
	took(t, "SIGKILL", "kill -9 of a Nissa that does not judge to the alert of what it had in hand", time.Since(killed), within)
}
