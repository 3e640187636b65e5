package demo

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/kasmina/graft"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tolaria"
	"github.com/esper-lite/weatherlight/trainer"
)

func TestReportIsSettledOnceItsConsequencesAreOnTheirWay(t *testing.T) {
	t.Parallel()
	const evaluated = `"tamiyo":{"report":7,"seeds":[{"id":"a","pending":{"operation":"`
	for name, test := range map[string]struct {
		record string
		want   bool
	}{
		"nothing is known":            {`{}`, false},
		"an earlier one is evaluated": {`{"tamiyo":{"report":6}}`, false},
		"it is evaluated":             {`{"tamiyo":{"report":7}}`, true},
		"a germination is unknown":    {`{` + evaluated + `GERMINATE"}}]}}`, false},
		"a kernel is awaited": {`{"kasmina":{"seeds":[{"id":"a","stage":"SEED_STAGE_GERMINATED","waits_for_kernel":true}]},` +
			evaluated + `GERMINATE"}}]}}`, false},
		"a kernel is ordered": {`{"kasmina":{"seeds":[{"id":"a","stage":"SEED_STAGE_GERMINATED","order":3}]},` +
			evaluated + `GERMINATE"}}]}}`, true},
		"a seed is to be kept": {`{"kasmina":{"seeds":[{"id":"a","stage":"SEED_STAGE_PROBATIONARY"}]},` +
			evaluated + `FOSSILIZE"}}]}}`, false},
		"a seed is ordered to be kept": {`{"kasmina":{"seeds":[{"id":"a","stage":"SEED_STAGE_PROBATIONARY","ordered":"SEED_STAGE_FOSSILIZED"}]},` +
			evaluated + `FOSSILIZE"}}]}}`, true},
		"a seed is to go":  {`{"kasmina":{"seeds":[{"id":"a","stage":"SEED_STAGE_SHADOWING"}]},` + evaluated + `CULL"}}]}}`, false},
		"a seed is gone":   {`{"kasmina":{"seeds":[{"id":"a","stage":"SEED_STAGE_EMBARGOED"}]},` + evaluated + `CULL"}}]}}`, true},
		"one that is over": {`{"tamiyo":{"report":8,"seeds":[{"id":"a","ended":true,"pending":{"operation":"GERMINATE"}}]}}`, true},
	} {
		view := new(runView)
		if err := json.Unmarshal([]byte(test.record), view); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := view.settled(7); got != test.want {
			t.Errorf("%s: settled is %v", name, got)
		}
	}
}

func TestLivesTellWhatTheTrainerDidAndWhy(t *testing.T) {
	t.Parallel()
	var told []string
	lives := newLives(func(_, blueprintID, stage, reason string) { told = append(told, blueprintID+" "+stage+" "+reason) })
	const none = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	lives.look(nil)
	lives.look(&runView{})
	view := new(runView)
	view.Kasmina.Seeds = []seedView{{ID: "a", Blueprint: "BP021"}, {ID: "b", Blueprint: "BP003"}}
	lives.look(view)
	lives.change(graft.Change{Kind: trainer.Attach, Seed: "a", From: none, To: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING})
	lives.change(graft.Change{Kind: trainer.Attach, Seed: "c", Err: errors.New("no such kernel")})
	lives.change(graft.Change{Kind: trainer.BlendIn, Seed: "a", To: leyline.SeedLifecycleStage_SEED_STAGE_BLENDING})
	lives.change(graft.Change{Kind: trainer.Attach, Seed: "b", From: none, To: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING})
	view = new(runView)
	view.Kasmina.Seeds = []seedView{
		{ID: "a", Blueprint: "BP021", LastGate: "SEED_GATE_G4_SYSTEM_IMPACT", Measured: map[string]float64{"loss_after": 0.2}},
		{ID: "b", Blueprint: "BP003", LastGate: "SEED_GATE_G2_STABILITY", LastFailure: "not better than host"},
	}
	lives.look(view)
	lives.change(graft.Change{Kind: trainer.Drop, Seed: "b", From: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING, To: none})
	lives.change(graft.Change{Kind: trainer.Keep, Seed: "a", To: leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED})
	lives.change(graft.Change{Kind: trainer.Tune, Seed: "a", To: leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED})
	if len(lives.list) != 2 {
		t.Fatalf("%d lives", len(lives.list))
	}
	a, b := lives.list[0], lives.list[1]
	if want := []string{stageGerminated, stageTraining, stageBlending, stageFossilized}; !slices.Equal(a.stages, want) || !a.kept() {
		t.Errorf("a went through %v", a.stages)
	}
	if a.why() != "earned its place" || a.gate != "SEED_GATE_G4_SYSTEM_IMPACT" || a.measured["loss_after"] != 0.2 {
		t.Errorf("a: %+v", a)
	}
	if want := []string{stageGerminated, stageTraining, stageCulled}; !slices.Equal(b.stages, want) || !b.dropped() || b.why() != "not better than host" {
		t.Errorf("b: %+v", b)
	}
	if want := "BP003 SEED_STAGE_CULLED not better than host"; !slices.Contains(told, want) || len(told) != 5 {
		t.Errorf("told %v", told)
	}
}

func TestReportIsMeanAndSpreadOverTheRepeats(t *testing.T) {
	t.Parallel()
	r := &report{HostUnchanged: true}
	for i, grown := range []float64{0.90, 0.92, 0.94} {
		r.add(&outcome{
			result: &tolaria.Result{
				HostAccuracy: 0.8, GrownAccuracy: grown, HostParameters: 100, GrownParameters: 200 + i, HostUnchanged: i != 1,
				HostGradientMax: float64(i), Epochs: make([]tolaria.Epoch, 5), Rates: make([]float64, 7),
			},
			longer: tolaria.Plain{Accuracy: 0.85, Parameters: 100}, larger: tolaria.Plain{Accuracy: 0.95, Parameters: 205},
			seeds: []*life{{id: "s", stages: []string{stageGerminated}}},
		})
	}
	r.summarize()
	near := func(name string, got, want float64) {
		if diff := got - want; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	near("grown", r.GrownAccuracy, 0.92)
	near("its spread", r.GrownSpread, 0.02)
	near("the host", r.HostAccuracy, 0.8)
	near("its spread", r.HostSpread, 0)
	near("trained longer", r.LongerAccuracy, 0.85)
	near("larger", r.LargerAccuracy, 0.95)
	if r.HostParameters != 100 || r.GrownParameters != 201 || r.LargerParameters != 205 || r.Epochs != 15 {
		t.Errorf("sizes: %+v", r)
	}
	if r.HostUnchanged || r.HostGradientMax != 2 || len(r.Seeds) != 3 || r.Runs[2].Steps != 7 {
		t.Errorf("one bad repeat does not show: %+v", r)
	}
	if got := r.Seeds[0].Reason; got != "undecided at the end" {
		t.Errorf("reason %q", got)
	}
}

func TestCurveIsFoundToBeWritableBeforeTheDemo(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, path := range []string{folder, filepath.Join(folder, "none", "curve.svg")} {
		begun := time.Now()
		if err := runDemo(t.Context(), demoOptions{repeats: 1, slot: "16", curve: path}, io.Discard); err == nil || time.Since(begun) > time.Second {
			t.Errorf("%s: %v after %v", path, err, time.Since(begun))
		}
	}
	path := filepath.Join(folder, "curve.svg")
	for _, test := range []struct {
		before, write string
		good          bool
		want          string
	}{
		{"", "<svg/>", true, "<svg/>"},
		{"", "", false, ""},
		{"the picture of yesterday", "<svg/>", true, "<svg/>"},
		{"the picture of yesterday", "", false, "the picture of yesterday"},
	} {
		_ = os.Remove(path)
		if test.before != "" {
			if err := os.WriteFile(path, []byte(test.before), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		curve, err := openCurve(path)
		if err != nil {
			t.Fatal(err)
		}
		if test.write != "" {
			err = curve.write([]byte(test.write))
		}
		if err = errors.Join(err, curve.close(test.good)); err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		content, err := os.ReadFile(path)
		if string(content) != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%+v: left %q, %v", test, content, err)
		}
	}
	if curve, err := openCurve(""); curve != nil || err != nil || curve.write(nil) != nil || curve.close(false) != nil {
		t.Errorf("no curve: %v, %v", curve, err)
	}
}

func TestCurveMarksStagesAndDepartures(t *testing.T) {
	t.Parallel()
	seed := func(stage leyline.SeedLifecycleStage) []graft.Seed {
		return []graft.Seed{{ID: "a", Blueprint: "BP021", Stage: stage}}
	}
	picture := string(drawCurve(&report{first: &tolaria.Result{Epochs: []tolaria.Epoch{
		{Number: 1},
		{Number: 2, Seeds: seed(leyline.SeedLifecycleStage_SEED_STAGE_TRAINING)},
		{Number: 3, Seeds: seed(leyline.SeedLifecycleStage_SEED_STAGE_BLENDING)},
		{Number: 4},
	}}}))
	for _, want := range []string{"training BP021", "blending BP021", ">culled<", "polyline"} {
		if strings.Count(picture, want) == 0 {
			t.Errorf("the curve does not show %q", want)
		}
	}
}

// name is one of a stage on the curve.
var name = regexp.MustCompile(`<text x="([0-9.]+)" y="([-0-9.]+)" font-size="10"[^>]*?( text-anchor="end")?>([^<]*)</text>`)

// TestR27NamesOfStagesDoNotOverlap: the curve said "blendingprobationary".
func TestR27NamesOfStagesDoNotOverlap(t *testing.T) {
	t.Parallel()
	for _, count := range []int{12, 60, 300} {
		epochs := make([]tolaria.Epoch, count)
		for i := range epochs { // a seed that changes with each of the last epochs, and one that comes and goes
			stage := leyline.SeedLifecycleStage(2 + i%6)
			epochs[i].Seeds = []graft.Seed{{ID: "a", Blueprint: "BP021", Stage: stage}}
			if i < count-10 && i > 10 {
				epochs[i].Seeds[0].Stage = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
			}
			if i%7 < 3 {
				epochs[i].Seeds = append(epochs[i].Seeds, graft.Seed{ID: "b", Blueprint: "BP001"})
			}
		}
		picture := string(drawCurve(&report{first: &tolaria.Result{Epochs: epochs}}))
		var boxes [][4]float64
		for _, found := range name.FindAllStringSubmatch(picture, -1) {
			x, y := number(t, found[1]), number(t, found[2])
			wide := 5.6 * float64(len(found[4])) // of a letter in a common face
			if found[3] != "" {
				x -= wide
			}
			box := [4]float64{x, y, x + wide, y + 10}
			if box[0] < 0 || box[2] > curveWidth {
				t.Errorf("%d epochs: %q is beside the picture", count, found[4])
			}
			for _, other := range boxes {
				if box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3] {
					t.Errorf("%d epochs: %q lies on another at %v", count, found[4], box)
				}
			}
			boxes = append(boxes, box)
		}
		if len(boxes) < 10 {
			t.Errorf("%d names on the curve of %d epochs", len(boxes), count)
		}
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// shut is a pipe that nobody reads.
type shut struct{}

func (shut) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestScreenStopsAtAClosedPipe(t *testing.T) {
	t.Parallel()
	calls := 0
	screen := newScreen(shut{}, false)
	screen.Broken = func(error) { calls++ }
	screen.Print("one")
	screen.Print("two")
	if calls != 1 || screen.Failure() == nil {
		t.Errorf("told %d times, %v", calls, screen.Failure())
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	samples := []time.Duration{4 * time.Millisecond, time.Millisecond, 3 * time.Millisecond, 2 * time.Millisecond}
	if got := quantile(samples, 0.5); got != 3 {
		t.Errorf("p50 = %v ms", got)
	}
	if got := quantile(samples, 0.99); got != 4 {
		t.Errorf("p99 = %v ms", got)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("p50 of nothing = %v", got)
	}
}
