package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/proctest"
	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

// monitors are what watches services: a Nissa, and Prometheus and Alertmanager of Debian's packages.
type monitors struct {
	nissa            *process
	addr, prometheus string // of Nissa, and of Prometheus
	duty             *duty
}

// observed are two Weatherlights on one Redis, and all that watches them.
type observed struct {
	monitors

	first, second *world
	page          *browser
	run           *trainerProcess
}

// quick has the shipped files tell within seconds what they tell within minutes.
func quick(t testing.TB, file string, more ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "infra", "observability", file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(append(more,
		"for: 1m\n", "for: 1s\n", "_interval: 15s", "_interval: 1s", // Prometheus
		"group_wait: 10s", "group_wait: 0s", "group_interval: 1m", "group_interval: 1s", // Alertmanager
		`increase("10m") >= 3`, `increase("40s") >= 3`, "absent: 3m", "absent: 10s", "quiet: 15m", "quiet: 2s", // Nissa
		"interval: 30s", "interval: 100ms", "receivers: [chat]", "receivers: [pager, chat]",
	)...).Replace(string(text))
}

// watched gives a world an address that is the same after a restart.
func (w *world) watched() (addr string) {
	w.t.Helper()
	addr = freeport.Must(w.t)
	w.environ = append(w.environ, "WEATHERLIGHT_HTTP_ADDR="+addr)
	return addr
}

// monitor starts what watches a world and others on its Redis, with the files that operators start it with.
func (w *world) monitor(targets ...string) monitors {
	t := w.t
	t.Helper()
	m := monitors{addr: freeport.Must(t), prometheus: freeport.Must(t), duty: onDuty(t)}
	folder, manager := t.TempDir(), freeport.Must(t)
	mustWrite(t, filepath.Join(folder, "alertmanager.yml"), quick(t, "alertmanager.yml", "  - name: nobody\n",
		"  - {name: nobody, webhook_configs: [{url: \""+m.duty.URL+"/manager\", send_resolved: true}]}\n"))
	daemon(t, folder, "prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts",
		"--web.listen-address="+manager, "--cluster.listen-address=")
	mustWrite(t, filepath.Join(folder, "rules.yml"), quick(t, "rules.yml"))
	mustWrite(t, filepath.Join(folder, "nissa-token"), tokenOfNissa+"\n")
	mustWrite(t, filepath.Join(folder, "weatherlight-token"), tokenOfWeatherlight+"\n")
	mustWrite(t, filepath.Join(folder, "prometheus.yml"), quick(t, "prometheus.yml", "/run/secrets/", folder+"/",
		"nissa:9100", m.addr, "alertmanager:9093", manager, "dns_sd_configs:", "static_configs:",
		"{names: [weatherlight], type: A, port: 9180}", `{targets: ["`+strings.Join(targets, `", "`)+`"]}`))
	daemon(t, folder, "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=series", "--web.listen-address="+m.prometheus)
	rules := filepath.Join(folder, "nissa-rules.yml")
	mustWrite(t, rules, quick(t, "nissa-rules.yml", "- name: pager\n", "- name: pager\n    url: "+m.duty.URL+"/nissa\n",
		"- name: chat\n", "- name: chat\n    url: alertmanager+http://"+manager+"\n"))
	m.nissa = launch(t, folder, slices.Concat(w.environ, []string{"NISSA_HTTP_ADDR=" + m.addr, "NISSA_RULES_FILE=" + rules}), nissaService)
	eventually(t, "Nissa is ready", patience, func() bool {
		code, _, err := get(m.addr, "/readyz")
		return err == nil && code == http.StatusOK
	})
	return m
}

// observe starts them all, but the second Weatherlight.
func observe(t *testing.T) *observed {
	t.Helper()
	o := &observed{first: newWorld(t, redistest.AOF()...)}
	o.first.environ = append(o.first.environ, "TEZZERET_FORGE_ON_START=false")
	o.second = o.first.second()
	o.second.environ = append(o.second.environ, "TEZZERET_FORGE_ON_START=true")
	targets := []string{o.first.watched(), o.second.watched()}
	o.first.boot()
	o.monitors = o.first.monitor(targets...)
	o.page = browse(t, o.addr)
	return o
}

// daemon starts a server of Debian's packages.
func daemon(t testing.TB, folder, debian string, args ...string) {
	t.Helper()
	binary, err := exec.LookPath(debian)
	if err != nil {
		t.Fatalf("%s not found: apt-get install %[1]s", debian)
	}
	proctest.Launch(t, folder, nil, binary, args...)
}

// rings waits until an alert is told over each way, and is on the page of alarms.
func (o *observed) rings(t *testing.T, rule string) {
	t.Helper()
	o.duty.hears(t, "nissa firing "+rule, "manager firing "+rule)
	o.page.sees(sight{At: "#/alarms", Selector: "tr", Texts: []string{"firing", rule}})
}

// ends waits until its end is told over each way, and it is on the page no more.
func (o *observed) ends(t *testing.T, rule string) {
	t.Helper()
	o.duty.hears(t, "nissa resolved "+rule, "manager resolved "+rule)
	o.page.sees(sight{At: "#/alarms", Selector: "tr", Texts: []string{"firing", rule}, Gone: true})
}

// TestWhatGoesWrongIsToldAndSeenAndEnds with the files that are shipped, and Prometheus and Alertmanager of Debian's
// packages: a worker that keeps crashing, an instance that is killed, a run that is halted and a Redis that is gone.
func TestWhatGoesWrongIsToldAndSeenAndEnds(t *testing.T) {
	begin(t)
	o := observe(t)
	o.run = o.first.trainer("watched-1", "--interval", "0.2")
	o.page.sees(o.listed("running"), sight{At: "#/runs/watched-1", Selector: "svg.curve .line-whole path"})

	// A worker that keeps crashing: something lies where the forge would write its journal.
	journal := filepath.Join(o.second.folder, "var", "weatherlight", "forge-journal.jsonl")
	if err := os.MkdirAll(journal, 0o750); err != nil {
		t.Fatal(err)
	}
	o.second.boot()
	o.rings(t, "workers_restarting")
	o.duty.hears(t, "manager firing EsperAlarm worker_failing") // that comes from Prometheus
	o.page.sees(sight{At: "#/workers", Selector: ".panel:has-text('weatherlight/second') ul.workers li", Texts: []string{"forge", "restarts"}},
		sight{At: "#/alarms", Selector: "tr", Texts: []string{"raised", "worker_failing"}})
	if err := os.Remove(journal); err != nil {
		t.Fatal(err)
	}

	o.second.process.kill()
	o.rings(t, "weatherlight_silent")
	o.duty.hears(t, "manager firing EsperServiceDown")
	o.second.boot()
	o.ends(t, "weatherlight_silent")
	o.duty.hears(t, "manager resolved EsperServiceDown", "manager resolved EsperAlarm worker_failing")

	o.halt(t)
	o.ends(t, "workers_restarting") // which takes as long as its condition looks back
	o.outage(t)
	o.page.mustHaveSeenNothingRed()
	o.nissa.signal(syscall.SIGTERM)
	if code, took := o.nissa.exit(stopBound); code != 0 {
		t.Errorf("Nissa stopped with exit code %d after %s", code, took)
	}
	o.first.stop()
	o.second.stop()
}

// listed is the line of the run in the list of runs.
func (o *observed) listed(state string) sight {
	return sight{At: "#/", Selector: "table.runs tbody tr", Texts: []string{o.run.run, state}}
}

// halt halts the run for a while, as an operator does.
func (o *observed) halt(t *testing.T) {
	t.Helper()
	now := o.first.busTime()
	o.first.sendDated(streamEmergency, typeEmergency, &leyline.EmergencySignal{
		Version: 1, Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT, Origin: "operator", Reason: "smoke", RunId: o.run.run,
		TriggeredAt: timestamppb.New(now),
	}, now)
	o.duty.hears(t, "nissa firing halt", "manager firing halt", "nissa resolved halt", "manager resolved halt")
	o.rings(t, "run_halted")
	o.page.sees(o.listed("halted"), sight{At: "#/runs/" + o.run.run, Selector: ".feed li", Texts: []string{"Emergency", "smoke"}},
		sight{At: "#/runs/" + o.run.run, Selector: ".state", Texts: []string{"halted"}})
	ring, err := signing.NewKeyring(secret)
	if err != nil {
		t.Fatal(err)
	}
	now = o.first.busTime()
	lift := &leyline.AdaptationCommand{
		Version: 1, CommandId: "lift", CommandType: leyline.CommandType_COMMAND_EMERGENCY, IssuedBy: "operator", IssuedAt: timestamppb.New(now),
		Annotations: map[string]string{"level": "EMERGENCY_LEVEL_NOTICE", "training_run_id": o.run.run},
	}
	if err := ring.SignCommand(lift); err != nil {
		t.Fatal(err)
	}
	o.first.sendDated(streamNormal, typeCommand, lift, now)
	o.ends(t, "run_halted")
	o.page.sees(o.listed("running"))
}

// outage takes the bus away for a while.
func (o *observed) outage(t *testing.T) {
	t.Helper()
	o.first.redis.Kill()
	o.rings(t, "bus_down")
	o.duty.hears(t, "manager firing EsperAlarm bus_down")
	o.first.redis.Restart()
	o.ends(t, "bus_down")
	o.duty.hears(t, "manager resolved EsperAlarm bus_down")
	before := o.run.report().Epoch
	eventually(t, "the run goes on", patience, func() bool { return o.run.report().Epoch > before })
	o.page.sees(o.listed("running"))
}
