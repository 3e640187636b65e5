package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	ossignal "os/signal"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/esper-lite/weatherlight/internal/redistest"
)

// demoReport is the object that esperctl demo --json prints.
type demoReport struct {
	HostAccuracy     float64  `json:"host_accuracy"`
	GrownAccuracy    float64  `json:"grown_accuracy"`
	LongerAccuracy   float64  `json:"host_longer_accuracy"`
	LargerAccuracy   float64  `json:"host_larger_accuracy"`
	HostParameters   int      `json:"host_parameters"`
	GrownParameters  int      `json:"grown_parameters"`
	LargerParameters int      `json:"larger_parameters"`
	Repeats          int      `json:"repeats"`
	HostGradientMax  *float64 `json:"host_gradient_max"`
	HostUnchanged    bool     `json:"host_unchanged"`

	Seeds    []demoSeed `json:"seeds"`
	Prefetch struct {
		Requests int     `json:"requests"`
		Ready    int     `json:"ready"`
		Errors   int     `json:"errors"`
		P50Ms    float64 `json:"p50_ms"`
		P99Ms    float64 `json:"p99_ms"`
	} `json:"prefetch"`
	KernelsCompiled int     `json:"kernels_compiled"`
	KernelsRefused  int     `json:"kernels_refused"`
	DurationS       float64 `json:"duration_s"`
}

type demoSeed struct {
	SeedID      string   `json:"seed_id"`
	BlueprintID string   `json:"blueprint_id"`
	Stages      []string `json:"stages"`
	LastGate    string   `json:"last_gate"`
	Reason      string   `json:"reason"`
}

// runDemo runs the demo in an empty folder, which it must leave empty.
func runDemo(t *testing.T, environ []string, args ...string) (report demoReport) {
	t.Helper()
	folder := t.TempDir()
	printed := run(t, folder, environ, "esperctl", append([]string{"demo", "--json"}, args...)...)
	decoder := json.NewDecoder(strings.NewReader(printed))
	if err := decoder.Decode(&report); err != nil {
		t.Fatalf("demo --json: %v\n%s", err, printed)
	}
	if rest, _ := io.ReadAll(io.MultiReader(decoder.Buffered())); strings.TrimSpace(string(rest)) != "" {
		t.Errorf("demo --json prints more than one object: %q", rest)
	}
	mustHaveFields(t, printed, report)
	mustBeEmpty(t, filepath.Join(folder, "tmp"))
	if _, err := os.Stat(filepath.Join(folder, "var")); err == nil {
		t.Error("the demo wrote into the folder it was started in")
	}
	t.Logf("%v: host %.4f, grown %.4f, %d kernels, %.1f s", args,
		report.HostAccuracy, report.GrownAccuracy, report.KernelsCompiled, report.DurationS)
	return report
}

// mustHaveFields checks that the demo says all that the report has room for: what it
// leaves out reads as zero.
func mustHaveFields(t *testing.T, printed string, report demoReport) {
	t.Helper()
	var said map[string]any
	if err := json.Unmarshal([]byte(printed), &said); err != nil {
		t.Fatal(err)
	}
	for field := range reflect.TypeOf(report).Fields() {
		if name := field.Tag.Get("json"); said[name] == nil {
			t.Errorf("demo --json does not say %s", name)
		}
	}
}

func mustBeEmpty(t testing.TB, folder string) {
	t.Helper()
	left, err := os.ReadDir(folder)
	if err != nil || len(left) > 0 {
		t.Errorf("%s is left with %v (%v)", folder, left, err)
	}
}

// grew checks what the demo promises of every run.
func (r demoReport) grew(t *testing.T) {
	t.Helper()
	for name, accuracy := range map[string]float64{
		"the host": r.HostAccuracy, "the grown host": r.GrownAccuracy,
		"the host trained longer": r.LongerAccuracy, "the larger host": r.LargerAccuracy,
	} {
		if accuracy <= 0.5 || accuracy > 1 {
			t.Errorf("%s has an accuracy of %g", name, accuracy)
		}
	}
	if r.HostGradientMax == nil || *r.HostGradientMax != 0 || !r.HostUnchanged {
		t.Errorf("host_gradient_max is %v and host_unchanged %v", r.HostGradientMax, r.HostUnchanged)
	}
	if !slices.ContainsFunc(r.Seeds, func(seed demoSeed) bool {
		return seed.SeedID != "" && seed.BlueprintID != "" && fossilizedInOrder(seed.Stages)
	}) {
		t.Errorf("no seed was fossilised in order: %+v", r.Seeds)
	}
	if r.HostParameters <= 0 || r.GrownParameters <= r.HostParameters || r.LargerParameters <= r.HostParameters {
		t.Errorf("grew from %d to %d parameters, a larger host has %d", r.HostParameters, r.GrownParameters, r.LargerParameters)
	}
	if r.KernelsCompiled < 10 || r.KernelsCompiled+r.KernelsRefused != blueprints {
		t.Errorf("%d kernels compiled, %d refused", r.KernelsCompiled, r.KernelsRefused)
	}
	p := r.Prefetch
	if p.Requests == 0 || p.Ready+p.Errors != p.Requests || p.P50Ms <= 0 || p.P99Ms < p.P50Ms || r.DurationS <= 0 {
		t.Errorf("prefetch %+v, duration %g", p, r.DurationS)
	}
}

// holds checks what it promises besides of the host that it grows by default.
func (r demoReport) holds(t *testing.T) {
	t.Helper()
	r.grew(t)
	if gain := r.GrownAccuracy - r.HostAccuracy; gain < 0.05 {
		t.Errorf("accuracy went from %g to %g: a gain of %g, want at least 0.05", r.HostAccuracy, r.GrownAccuracy, gain)
	}
	if difference := r.LargerParameters - r.GrownParameters; difference < -40 || difference > 40 {
		t.Errorf("a host of %d parameters stands for one of %d", r.LargerParameters, r.GrownParameters)
	}
	blueprints := map[string]bool{}
	for _, seed := range r.Seeds {
		blueprints[seed.BlueprintID] = true
		if seed.LastGate == "" || seed.Reason == "" {
			t.Errorf("a seed without a gate and a reason: %+v", seed)
		}
	}
	culled := func(seed demoSeed) bool { return slices.Contains(seed.Stages, "SEED_STAGE_CULLED") }
	if len(blueprints) < 2 || !slices.ContainsFunc(r.Seeds, culled) {
		t.Errorf("no seeds of two blueprints, or none that was culled: %+v", r.Seeds)
	}
}

func fossilizedInOrder(stages []string) bool {
	at := -1
	for _, stage := range []string{"TRAINING", "BLENDING", "SHADOWING", "PROBATIONARY", "FOSSILIZED"} {
		next := slices.Index(stages, "SEED_STAGE_"+stage)
		if next <= at {
			return false
		}
		at = next
	}
	return at == len(stages)-1
}

// paths are the stages of every seed, whose names differ from run to run.
func (r demoReport) paths() (paths [][]string) {
	for _, seed := range r.Seeds {
		paths = append(paths, append([]string{seed.BlueprintID}, seed.Stages...))
	}
	return paths
}

// TestDemoGrowsTheSameNetworkAgain runs one seed three times: twice on the
// embedded broker and once on Redis.
func TestDemoGrowsTheSameNetworkAgain(t *testing.T) {
	begin(t)
	curve := filepath.Join(t.TempDir(), "curve.svg")
	first := runDemo(t, nil, "--seed", "1", "--repeats", "1", "--curve", curve)
	first.holds(t)
	mustBeCurve(t, curve)
	server := redistest.Start(t)
	bus := []string{"REDIS_URL=" + server.URL}
	for name, flags := range map[string][]string{"embedded": nil, "redis": {"--join"}} {
		again := runDemo(t, bus, append(flags, "--seed", "1", "--repeats", "1")...)
		again.holds(t)
		if again.HostAccuracy != first.HostAccuracy || again.GrownAccuracy != first.GrownAccuracy ||
			again.LongerAccuracy != first.LongerAccuracy || again.LargerAccuracy != first.LargerAccuracy {
			t.Errorf("%s: %+v, the first run had %+v", name, again, first)
		}
		if !reflect.DeepEqual(again.paths(), first.paths()) {
			t.Errorf("%s: stages %v, the first run had %v", name, again.paths(), first.paths())
		}
	}
	if n := newRedisClient(t, server.Addr).length(streamReady); n == 0 {
		t.Error("the demo did not use REDIS_URL")
	}
}

// TestDemoSaysWhatGrowthWasWorth runs it as a newcomer does, with two seeds.
func TestDemoSaysWhatGrowthWasWorth(t *testing.T) {
	begin(t)
	first, second := runDemo(t, nil), runDemo(t, nil, "--seed", "2")
	for _, report := range []demoReport{first, second} {
		report.holds(t)
		if report.Repeats != 3 || report.DurationS > 60 {
			t.Errorf("%d repeats in %g s", report.Repeats, report.DurationS)
		}
	}
	if first.HostAccuracy == second.HostAccuracy && first.GrownAccuracy == second.GrownAccuracy {
		t.Error("--seed changes nothing")
	}
}

// TestDemoHoldsWithEverySeed runs it once with each of five seeds.
func TestDemoHoldsWithEverySeed(t *testing.T) {
	begin(t)
	for seed := 1; seed <= 5; seed++ {
		runDemo(t, nil, "--seed", strconv.Itoa(seed), "--repeats", "1").holds(t)
	}
}

// TestDemoGrowsAtLayersOfOtherForms grows kernels for sequences and for maps.
func TestDemoGrowsAtLayersOfOtherForms(t *testing.T) {
	begin(t)
	for _, slot := range []string{"4x8", "1x4x4"} {
		runDemo(t, nil, "--seed", "1", "--repeats", "1", "--slot", slot).grew(t)
	}
}

// mustBeCurve checks for a well-formed SVG with a line and the stage changes.
func mustBeCurve(t testing.TB, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	elements := map[string]int{}
	for decoder := xml.NewDecoder(bytes.NewReader(content)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("the curve is not well-formed: %v", err)
			return
		}
		if start, isStart := token.(xml.StartElement); isStart {
			elements[start.Name.Local]++
		}
	}
	if elements["svg"] != 1 || elements["polyline"]+elements["path"] == 0 {
		t.Errorf("the curve consists of %v", elements)
	}
	mustSay(t, "the curve", strings.ToLower(string(content)), "training", "blending", "fossilized")
}

// TestDemoLeavesABusThatItWasNotToldToJoinAlone: whoever has REDIS_URL set beside a bus in
// production had the demo's service, seeds and kernels there.
func TestDemoLeavesABusThatItWasNotToldToJoinAlone(t *testing.T) {
	begin(t)
	server := redistest.Start(t)
	folder := t.TempDir()
	p := launch(t, folder, []string{"REDIS_URL=" + server.URL}, "esperctl", "demo")
	eventually(t, "the demo trains", patience, func() bool { return strings.Contains(p.stdout.String(), "epoch") })
	if keys := newRedisClient(t, server.Addr).do("DBSIZE"); keys != int64(0) {
		t.Errorf("the demo has %v keys on a bus that it was not told to join", keys)
	}
	mustSay(t, "the demo", p.stdout.String(), "--join")
	p.signal(syscall.SIGINT)
	p.exit(stopBound)
	for name, environ := range map[string][]string{"none": nil, "malformed": {"REDIS_URL=gopher://x"}} {
		p := launch(t, t.TempDir(), environ, "esperctl", "demo", "--join")
		if code, _ := p.exit(stopBound); code != exitConfiguration {
			t.Errorf("--join with a REDIS_URL that is %s: exit code %d", name, code)
		}
		mustSay(t, "--join", p.stderr.String(), "REDIS_URL")
	}
}

// TestR23DemoBesideAServiceWithTheSameExports: it failed with "instance name in use" beside the
// very service that README has one start, or joined its bus unasked; a curve that could not be
// written lost the result at the end.
func TestR23DemoBesideAServiceWithTheSameExports(t *testing.T) {
	begin(t)
	w := newWorld(t)
	w.boot()
	for name, flags := range map[string][]string{"alone": nil, "joined": {"--join"}} {
		folder := t.TempDir()
		printed := run(t, folder, w.environ, "esperctl", append([]string{"demo", "--repeats", "1", "--json"}, flags...)...)
		if !json.Valid([]byte(printed)) {
			t.Errorf("%s: prints %s", name, tail(printed))
		}
		mustLeaveNothing(t, name, w.redis, filepath.Join(folder, "tmp"))
	}
	p := launch(t, t.TempDir(), w.environ, "esperctl", "demo", "--curve", "none/curve.svg")
	if code, _ := p.exit(patience); code == 0 || p.stdout.String() != "" {
		t.Errorf("a curve that cannot be written: exit code %d after %s", code, tail(p.stdout.String()))
	}
	mustSay(t, "a curve that cannot be written", p.stderr.String(), "--curve")
	w.stop()
}

// TestDemoThatJoinedLeavesNoGroupBehind ends one by its end, one by Ctrl-C and one by
// a reader that goes away.
func TestDemoThatJoinedLeavesNoGroupBehind(t *testing.T) {
	begin(t)
	server := redistest.Start(t)
	environ := []string{"REDIS_URL=" + server.URL, "ESPER_LEYLINE_SECRET=" + secret}
	flags := []string{"demo", "--join", "--repeats", "1"}
	for name, end := range map[string]func(*process) int{
		"its end": func(*process) int { return 0 },
		"Ctrl-C": func(p *process) int {
			eventually(t, "the demo trains", patience, func() bool { return strings.Contains(p.stdout.String(), "epoch") })
			p.signal(syscall.SIGINT)
			return exitStopped
		},
	} {
		folder := t.TempDir()
		p := launch(t, folder, environ, "esperctl", flags...)
		want := end(p)
		if code, _ := p.exit(patience); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, want, tail(p.stderr.String()))
		}
		mustLeaveNothing(t, name, server, filepath.Join(folder, "tmp"))
	}
	folder := t.TempDir()
	p := launchUnread(t, folder, environ, "esperctl", flags...)
	if code, _ := p.exit(patience); code != 1 {
		t.Errorf("nobody reads: exit code %d", code)
	}
	mustSay(t, "the demo", p.stderr.String(), "broken pipe")
	mustLeaveNothing(t, "a closed pipe", server, filepath.Join(folder, "tmp"))
}

// launchUnread starts a command whose output nobody reads.
func launchUnread(t *testing.T, folder string, environ []string, command string, args ...string) *process {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	scratch := filepath.Join(folder, "tmp")
	if err := os.Mkdir(scratch, 0o755); err != nil {
		t.Fatal(err)
	}
	// A shell hands the pipe on: the test would collect what is written.
	shell := exec.Command("/bin/sh", "-c", `exec "$0" "$@" >&3`, filepath.Join(suite.binaries, command))
	shell.Args = append(shell.Args, args...)
	shell.Dir, shell.Env = folder, append([]string{"HOME=" + folder, "TMPDIR=" + scratch}, environ...)
	shell.ExtraFiles = []*os.File{writer}
	return start(t, shell, command+" unread")
}

// mustLeaveNothing looks for groups, consumers and files of a demo that is over.
func mustLeaveNothing(t *testing.T, how string, server *redistest.Server, scratch string) {
	t.Helper()
	mustBeEmpty(t, scratch)
	bus := newRedisClient(t, server.Addr)
	keys, _ := bus.do("KEYS", "*").([]any)
	for _, key := range keys {
		name := fmt.Sprint(key)
		if bus.do("TYPE", name) != "stream" {
			continue
		}
		groups, _ := bus.do("XINFO", "GROUPS", name).([]any)
		for _, group := range groups {
			if text := fmt.Sprint(group); strings.Contains(text, "demo-") {
				t.Errorf("after %s %s has a group: %s", how, name, text)
			}
		}
		if len(groups) == 0 {
			continue
		}
		if text := fmt.Sprint(bus.do("XINFO", "CONSUMERS", name, group)); strings.Contains(text, "demo-") {
			t.Errorf("after %s %s has a consumer: %s", how, name, text)
		}
	}
}

// TestDemoThatIsWatchedShowsAlerts: the page of a demo has all that Nissa's page has.
func TestDemoThatIsWatchedShowsAlerts(t *testing.T) {
	begin(t)
	p := launch(t, t.TempDir(), nil, "esperctl", "demo", "--watch", "--repeats", "1", "--pace", "0")
	page := regexp.MustCompile(`page +http://(\S+)/`)
	eventually(t, "the page is there", patience, func() bool { return page.MatchString(p.stdout.String()) })
	addr := page.FindStringSubmatch(p.stdout.String())[1]
	for path, want := range map[string]string{"/api/alerts": `"alerts":`, "/api/objectives": "bus_messages"} {
		if code, body, err := get(addr, path); err != nil || code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, %v", path, code, tail(body), err)
		}
	}
	eventually(t, "the demo has grown", patience, func() bool { return strings.Contains(p.stdout.String(), "stays until Ctrl-C") })
	p.signal(syscall.SIGINT)
	p.exit(stopBound)
}

// TestInterruptedDemoCleansUp presses Ctrl-C in the middle.
func TestInterruptedDemoCleansUp(t *testing.T) {
	begin(t)
	// Under nohup a test hands down that it ignores SIGHUP, unless it takes the signal itself.
	taken := make(chan os.Signal, 1)
	ossignal.Notify(taken, syscall.SIGHUP)
	defer ossignal.Stop(taken)
	for _, sign := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} { // the terminal is closed
		folder := t.TempDir()
		p := launch(t, folder, nil, "esperctl", "demo")
		eventually(t, "the demo trains", patience, func() bool { return strings.Contains(p.stdout.String(), "epoch") })
		p.signal(sign)
		if code, _ := p.exit(stopBound); code != exitStopped {
			t.Errorf("a demo ended by %s ends with exit code %d", sign, code)
		}
		if said := p.stderr.String(); said != "esperctl: stopped\n" {
			t.Errorf("it says %q", said)
		}
		mustBeEmpty(t, filepath.Join(folder, "tmp"))
	}
}
