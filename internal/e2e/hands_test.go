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

	page     *process // Nissa
	nissa    string   // host:port
	operator []string // what the operator has set
}

func newHands(t *testing.T, environ ...string) *hands {
	t.Helper()
	w := newWorld(t)
	w.environ = append(append(w.environ, "TEZZERET_FEATURES=16", "TAMIYO_STEP_TIMEOUT_MS=60000"), environ...)
	w.bootForged()
	nissa := freeport.Must(t)
	h := &hands{world: w, nissa: nissa, operator: append(slices.Clone(w.environ),
		"NISSA_URL=http://"+nissa, "NISSA_HTTP_TOKEN="+secret, "WEATHERLIGHT_HTTP_ADDR="+w.http)}
	h.startNissa()
	return h
}

// startNissa has the Nissa of the world run, where it ran before.
func (h *hands) startNissa() {
	h.t.Helper()
	h.page = launch(h.t, h.t.TempDir(), append(slices.Clone(h.environ), "NISSA_HTTP_ADDR="+h.nissa, "NISSA_HTTP_TOKEN="+secret), nissaService)
	eventually(h.t, "Nissa is ready", patience, func() bool {
		code, _, err := get(h.nissa, "/readyz")
		return err == nil && code == http.StatusOK && h.page.running()
	})
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

// handSeed is what Nissa has of a seed.
type handSeed struct{ Run, ID, Stage, Reason string }

// seedsOf asks Nissa itself: a process for each look would keep the trainer from its work.
func (h *hands) seedsOf(run string) []handSeed {
	var page struct{ Seeds []handSeed }
	if code, body, err := get(h.nissa, "/api/runs/"+run+"/seeds"); err == nil && code == http.StatusOK {
		_ = json.Unmarshal([]byte(body), &page) // what is no answer has no seeds
	}
	return page.Seeds
}

// awaitSeed waits for a seed in one of the stages, or in any.
func (h *hands) awaitSeed(run string, stages ...string) (found handSeed) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("a seed is in %v", stages), growthPatience, func() bool {
		for _, seed := range h.seedsOf(run) {
			if len(stages) == 0 || slices.Contains(stages, strings.TrimPrefix(seed.Stage, "SEED_STAGE_")) {
				found = seed
				return true
			}
		}
		return false
	})
	return found
}

// growthPatience is for a network that trains until it rests, on a busy machine.
const growthPatience = 3 * time.Minute

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
	seed := h.awaitSeed("seen")
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
	h.groupsAreKept()
	h.stop()
	said := h.fails(exitDependency, "status")
	mustSay(t, "status without a service", said, "esper-weatherlight-service")
	if strings.Count(said, "\n") != 1 {
		t.Errorf("an error of several lines: %s", said)
	}
}

// groupsAreKept tries to remove each group of the services that run.
func (h *hands) groupsAreKept() {
	h.t.Helper()
	var streams []struct {
		Name   string
		Groups []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(h.ctl("streams", "list", "--json")), &streams); err != nil {
		h.t.Fatal(err)
	}
	tried := 0
	for _, s := range streams {
		for _, g := range s.Groups {
			mustSay(h.t, g.Name+" on "+s.Name, h.fails(1, "streams", "groups", "remove", s.Name, g.Name), "--force")
			tried++
		}
	}
	if tried < 6 {
		h.t.Errorf("there are only %d groups", tried)
	}
}

// TestOperatorActs pauses, resumes and culls a seed, is refused one that has earned nothing, and
// has the run be conservative. The feed tells who did it and why.
func TestOperatorActs(t *testing.T) {
	begin(t)
	h := newHands(t, "KASMINA_MIN_TRAINING=1000", "KASMINA_TRAIN_EPOCHS=100000", "TAMIYO_MAX_SEED_AGE_EPOCHS=1000000")
	h.goTrainer("acted", t.TempDir(), false)
	seed := h.awaitSeed("acted", "TRAINING")
	mustSay(t, "without a reason", h.fails(exitConfiguration, "seeds", "pause", "acted", seed.ID), "reason")
	mustSay(t, "another seed", h.fails(1, "seeds", "cull", "acted", "none", "--reason", "x"), "esperctl seeds list")
	mustSay(t, "pause", h.ctl("seeds", "pause", "acted", seed.ID, "--reason", "it looks odd"), "taken", "seed_paused")
	mustSay(t, "resume", h.ctl("seeds", "resume", "acted", seed.ID, "--reason", "it was not"), "seed_resumed")
	mustSay(t, "fossilize", h.fails(1, "seeds", "fossilize", "acted", seed.ID, "--reason", "hope"), "refused", "stage_mismatch")
	mustSay(t, "cull", h.ctl("seeds", "cull", "acted", seed.ID, "--reason", "for the test"), "taken")
	if said := h.logged("seed_operation"); said["run"] != "acted" || said["level"] != "INFO" {
		t.Errorf("the log says of the cull %v", said)
	}
	feed := h.ctl("events", "--run", "acted", "--kind", "command", "-o", "json", "--limit", "1000")
	mustSay(t, "the feed", feed, "it looks odd", "it was not", "hope", "for the test", `"issued_by": "esperctl"`, `"operator"`)
	mustSay(t, "conservative", h.ctl("mode", "conservative", "--reason", "a drill"), "emergency_cleanup")
	code, body := h.get("/runs/acted")
	if code != http.StatusOK || !strings.Contains(body, "EMERGENCY_LEVEL_CONSERVATIVE") {
		t.Errorf("the run is %s", tail(body))
	}
	mustSay(t, "normal", h.ctl("mode", "normal", "--run", "acted", "--reason", "over"), "emergency_lifted")
	if _, body := h.get("/runs/acted"); strings.Contains(body, "EMERGENCY_LEVEL_CONSERVATIVE") {
		t.Errorf("the run is still %s", tail(body))
	}
	mustSay(t, "an alert that there is not", h.fails(1, "alarms", "ack", "none"), "alarms list")
	dead := h.bus.length(streamDeadLetter)
	if dead != 0 {
		t.Errorf("%d dead letters: what an operator was refused is told to the operator", dead)
	}
	h.stop()
	mustSay(t, "nobody answers", h.fails(exitDependency, "mode", "normal", "--reason", "x", "--wait", "300ms"), "esperctl status")
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
