package e2e

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
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
