package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/esper-lite/weatherlight/internal/freeport"
)

// hands are a service, a Nissa and a trainer on one bus, and who operates them.
type hands struct {
	*world

	operator []string // what the operator has set
}

func newHands(t *testing.T) *hands {
	t.Helper()
	w := newWorld(t)
	nissa := freeport.Must(t)
	w.environ = append(w.environ, "TEZZERET_FEATURES=16", "TAMIYO_STEP_TIMEOUT_MS=60000")
	w.bootForged()
	p := launch(t, t.TempDir(), append(w.environ, "NISSA_HTTP_ADDR="+nissa, "NISSA_HTTP_TOKEN="+secret), nissaService)
	eventually(t, "Nissa is ready", patience, func() bool {
		code, _, err := get(nissa, "/readyz")
		return err == nil && code == http.StatusOK && p.running()
	})
	h := &hands{world: w, operator: append(slices.Clone(w.environ),
		"NISSA_URL=http://"+nissa, "NISSA_HTTP_TOKEN="+secret, "WEATHERLIGHT_HTTP_ADDR="+w.http)}
	return h
}

// ctl runs esperctl to a good end.
func (h *hands) ctl(args ...string) string {
	h.t.Helper()
	return run(h.t, h.folder, h.operator, "esperctl", args...)
}

// fails runs esperctl to another end, and returns what it says.
func (h *hands) fails(code int, args ...string) string {
	h.t.Helper()
	p := launch(h.t, h.folder, h.operator, "esperctl", args...)
	if got, _ := p.exit(patience); got != code {
		h.t.Errorf("esperctl %v: exit code %d, want %d: %s", args, got, code, tail(p.stderr.String()))
	}
	return p.stderr.String()
}

// seed is what esperctl seeds list --json has of one.
type handSeed struct{ Run, ID, Stage, Reason string }

func (h *hands) seeds() (seeds []handSeed) {
	h.t.Helper()
	if err := json.Unmarshal([]byte(h.ctl("seeds", "list", "--json")), &seeds); err != nil {
		h.t.Fatal(err)
	}
	return seeds
}

// reading is a line of INFO commandstats.
var reading = regexp.MustCompile(`cmdstat_([a-z|]+):calls=(\d+)`)

// calls are the commands that the bus has run, with how often.
func (w *world) calls() map[string]string {
	calls := map[string]string{}
	text, _ := w.bus.do("INFO", "commandstats").(string)
	for _, found := range reading.FindAllStringSubmatch(text, -1) {
		calls[found[1]] = found[2]
	}
	return calls
}

// TestOperatorSeesWhatGrows lets a trainer grow and asks each read about it.
func TestOperatorSeesWhatGrows(t *testing.T) {
	begin(t)
	h := newHands(t)
	h.goTrainer("seen", t.TempDir(), false)
	eventually(t, "a seed is seen", patience, func() bool { return len(h.seeds()) > 0 })
	seed := h.seeds()[0]
	for command, says := range map[string][]string{
		"status":                     {"ready", "1 running", "alarms", "kernel_requests"},
		"runs list":                  {"seen", "running"},
		"runs show seen":             {"seen", "BP"},
		"seeds list":                 {"BP"},
		"seeds show seen " + seed.ID: {seed.ID, "gate", "command"},
		"trainers list":              {"seen"},
		"workers":                    {"control_stream", "running"},
		"alarms list":                {},
		"events --run seen":          {"stage", "gate"},
		"streams list":               {"oona.normal", "oona.telemetry"},
		"streams show oona.normal":   {"weatherlight-e2e", "nissa-service"},
		"runs export seen":           {`"seen"`},
	} {
		shown := h.ctl(strings.Fields(command)...)
		mustSay(t, command, shown, says...)
		if strings.HasPrefix(command, "runs export") {
			continue
		}
		for line := range strings.Lines(shown) {
			if width := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); width > 80 && !strings.Contains(line, seed.ID) {
				t.Errorf("%s: %d columns: %s", command, width, line)
			}
		}
		if printed := h.ctl(append(strings.Fields(command), "--json")...); !json.Valid([]byte(printed)) {
			t.Errorf("%s --json: %s", command, tail(printed))
		}
	}
	follow := launch(t, h.folder, h.operator, "esperctl", "runs", "follow", "seen")
	eventually(t, "reports are followed", patience, func() bool { return strings.Count(follow.stdout.String(), "report") > 3 })
	follow.signal(syscall.SIGINT)
	if code, _ := follow.exit(stopBound); code != exitStopped || follow.stderr.String() != "esperctl: stopped\n" {
		t.Errorf("Ctrl-C: exit code %d, %q", code, follow.stderr.String())
	}
	var took []time.Duration
	for range 5 {
		begun := time.Now()
		h.ctl("status")
		took = append(took, time.Since(begun))
	}
	t.Logf("esperctl status takes %v", slices.Min(took))
	h.stop()
	said := h.fails(exitDependency, "status")
	mustSay(t, "status without a service", said, "esper-weatherlight-service")
	if strings.Count(said, "\n") != 1 {
		t.Errorf("an error of several lines: %s", said)
	}
}

// TestLookingAtTheBusLeavesNothingThere counts what the bus is asked for.
func TestLookingAtTheBusLeavesNothingThere(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.bootForged()
	w.stop()
	w.bus.do("XGROUP", "CREATE", streamNormal, "left-behind", "0")
	w.bus.do("XADD", streamNormal, "*", "no", "message")
	h := &hands{world: w, operator: w.environ}
	before, keys := fmt.Sprint(w.bus.do("XINFO", "GROUPS", streamNormal)), w.bus.do("DBSIZE")
	w.bus.do("CONFIG", "RESETSTAT")
	shown := h.ctl("streams", "list")
	mustSay(t, "streams list", shown, "left-behind")
	h.ctl("streams", "show", streamNormal)
	readOnly := []string{"hello", "auth", "client", "ping", "time", "exists", "xinfo", "info", "command", "config", "select", "cluster"}
	for call, times := range w.calls() {
		if name, _, _ := strings.Cut(call, "|"); !slices.Contains(readOnly, name) {
			t.Errorf("looking at the bus called %s %s times", call, times)
		}
	}
	if after := fmt.Sprint(w.bus.do("XINFO", "GROUPS", streamNormal)); after != before || w.bus.do("DBSIZE") != keys {
		t.Errorf("groups were %s and are %s", before, after)
	}
	mustSay(t, "another stream", h.fails(1, "streams", "show", "none"), "oona.normal")
	mustSay(t, "another group", h.fails(1, "streams", "groups", "remove", streamNormal, "none"), "left-behind")
	w.bus.do("XREADGROUP", "GROUP", "left-behind", "reader", "COUNT", "1", "STREAMS", streamNormal, ">")
	mustSay(t, "a group in use", h.fails(1, "streams", "groups", "remove", streamNormal, "left-behind"), "--force")
	h.ctl("streams", "groups", "remove", streamNormal, "left-behind", "--force")
	if after := fmt.Sprint(w.bus.do("XINFO", "GROUPS", streamNormal)); strings.Contains(after, "left-behind") {
		t.Errorf("the group is still there: %s", after)
	}
	if _, err := os.Stat(h.folder + "/var/nissa"); err == nil {
		t.Error("looking made a folder")
	}
}
