package learn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/policy/network"
	"github.com/esper-lite/weatherlight/tamiyo/transcript"
	"github.com/esper-lite/weatherlight/trainer"
)

// world is one in which seeds are kept by a law that the controller's rules do not know.
type world struct {
	rng    *rand.Rand
	chance func(stage uint32) float64 // that a seed of a blueprint of that stage is kept
	beside bool                       // runs go on at the same time, and not one after the other

	offered []tamiyo.Candidate // the blueprints, which are the same in all runs
}

// catalogue draws the blueprints, of which the rules prefer the large ones.
func (w *world) catalogue() []tamiyo.Candidate {
	for i := len(w.offered); i < 8; i++ {
		w.offered = append(w.offered, tamiyo.Candidate{
			BlueprintID: fmt.Sprint("BP00", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: w.rng.Float64() / 2,
			Stage: uint32(i % 4), ParameterCount: 1000*(8-i) - w.rng.IntN(1000), MultiplyAdds: int64(1000*(8-i)) - w.rng.Int64N(1000),
		})
	}
	return w.offered
}

// record plays a run of the controller by its rules, and writes its decisions down.
func (w *world) record(t *testing.T, id string, reports int, from int64) transcript.Run {
	t.Helper()
	offered := w.catalogue()
	stages := make(map[string]uint32)
	for _, c := range offered {
		stages[c.BlueprintID] = c.Stage
	}
	controller := tamiyo.NewController(tamiyo.Config{Patience: 1, MinDelta: 0.5})
	run := transcript.Run{ID: id}
	var record *tamiyo.Record
	var growing []*leyline.SeedState
	blueprints := make(map[string]string)
	for n := range reports {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{
				TrainingRunId: id, CurrentEpoch: uint32(n), ValidationLoss: 1, ValidationAccuracy: 0.5, PacketId: fmt.Sprint(id, n), SeedStates: growing,
			},
			Grows: true, TrainerID: "process", Number: uint64(n) + 1, HostLayers: []string{"fc1"},
			Slots: map[string][]int{"a": {32}, "b": {32}, "c": {32}}, Grafts: map[string]trainer.Graft{},
		}
		decision, recording := transcript.Decide(controller, record, state, time.Unix(from+int64(100*n), 0),
			func([]int) ([]tamiyo.Candidate, error) { return offered, nil })
		written, err := recording.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		run.Decisions = append(run.Decisions, written)
		record, growing = decision.Record, w.grow(growing)
		for _, command := range decision.Commands {
			if operation := command.GetSeedOperation(); operation.GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE {
				blueprints[command.GetTargetSeedId()] = operation.GetBlueprintId()
				growing = append(growing, w.begin(command.GetTargetSeedId(), stages[operation.GetBlueprintId()]))
			}
		}
	}
	return run
}

// begin is a seed that is measured in the next report.
func (w *world) begin(id string, stage uint32) *leyline.SeedState {
	after := float32(1.2)
	if w.rng.Float64() < w.chance(stage) {
		after = 0.8
	}
	return &leyline.SeedState{
		SeedId: id, Stage: leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING,
		Metrics: map[string]float32{trainer.MetricLossBefore: 1, trainer.MetricLossAfter: after},
	}
}

// grow ends the seeds that were measured.
func (w *world) grow(seeds []*leyline.SeedState) (next []*leyline.SeedState) {
	for _, s := range seeds {
		switch s.GetStage() {
		case leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING:
			to := leyline.SeedLifecycleStage_SEED_STAGE_CULLED
			if s.GetMetrics()[trainer.MetricLossAfter] < 1 {
				to = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
			}
			next = append(next, &leyline.SeedState{SeedId: s.GetSeedId(), Stage: to, Metrics: s.GetMetrics()})
		case leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED:
			next = append(next, s)
		}
	}
	return next
}

func (w *world) gather(t *testing.T, runs int) *Data {
	t.Helper()
	var all []transcript.Run
	for i := range runs {
		from := int64(1_800_000_000)
		if !w.beside {
			from += int64(10_000 * i)
		}
		all = append(all, w.record(t, fmt.Sprint("run-", i), 40, from))
	}
	return Gather(append(all, all[0])) // one of them twice
}

func TestWhatCanBeLearntBeatsTheRules(t *testing.T) {
	t.Parallel()
	w := &world{rng: rand.New(rand.NewPCG(1, 2)), chance: func(stage uint32) float64 { return 0.1 + 0.8*float64(stage/2) }}
	data := w.gather(t, 40)
	if data.Runs != 40 || data.Unusable > 0 || data.Decisions < 150 {
		t.Fatalf("%d runs, %d decisions, %d unusable", data.Runs, data.Decisions, data.Unusable)
	}
	policy, verdict, err := data.Fit(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d decisions: %+v", data.Decisions, verdict)
	if !verdict.Beats() || verdict.PolicyRight < 0.7 || verdict.PolicyRegret > verdict.Regret {
		t.Errorf("%+v", verdict)
	}
	fitted, err := network.Read(policy)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i := range data.all {
		answers, err := fitted.Judge(t.Context(), data.all[i].rows)
		if err != nil {
			t.Fatal(err)
		}
		best := slices.MaxFunc(answers, func(a, b []float32) int { return int(1e6 * (a[0] - b[0])) })
		if k := slices.IndexFunc(answers, func(a []float32) bool { return &a[0] == &best[0] }); data.all[i].rows[k][15] >= 2 {
			right++
		}
		if best[1] != 0 || best[2] != best[3] {
			t.Fatalf("it answers %v", best[:4])
		}
	}
	if share := float64(right) / float64(len(data.all)); share < 0.8 {
		t.Errorf("it would begin one of the better kind in %.2f of all cases", share)
	}
	again, _, err := data.Fit(t.Context(), 1)
	if err != nil || !slices.Equal(again, policy) {
		t.Errorf("the same data give another policy, %v", err)
	}
}

func TestWhatHasNoStructureDoesNotBeatTheRules(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		w := &world{rng: rand.New(rand.NewPCG(seed, 3)), chance: func(uint32) float64 { return 0.5 }}
		_, verdict, err := w.gather(t, 25).Fit(t.Context(), seed)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", verdict)
		if verdict.Beats() {
			t.Errorf("seed %d: %+v", seed, verdict)
		}
	}
}

func TestTooLittleIsSaidToBeSo(t *testing.T) {
	w := &world{rng: rand.New(rand.NewPCG(1, 2)), chance: func(uint32) float64 { return 0.5 }}
	if _, _, err := w.gather(t, 5).Fit(t.Context(), 1); !errors.Is(err, ErrTooLittle) {
		t.Errorf("of five runs: %v", err)
	}
	w.chance = func(uint32) float64 { return 0 } // nothing comes to more than anything else
	if _, _, err := w.gather(t, 12).Fit(t.Context(), 1); !errors.Is(err, ErrTooLittle) {
		t.Errorf("without pairs: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, _, err := w.gather(t, 12).Fit(stopped, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
}

// A fit that is judged by a run knows neither that run nor what came later: what seeds earned there is among
// what it is told.
func TestAFitIsJudgedByWhatComesAfterIt(t *testing.T) {
	t.Parallel()
	for _, beside := range []bool{false, true} {
		w := &world{rng: rand.New(rand.NewPCG(1, 2)), chance: func(uint32) float64 { return 0.5 }, beside: beside}
		data := w.gather(t, 12)
		judged := 0
		for held := range folds {
			seen, unseen := data.hold(held)
			if len(seen) == 0 || len(unseen) == 0 {
				continue
			}
			judged += len(unseen)
			last := slices.MaxFunc(seen, func(a, b decision) int { return cmp.Compare(a.known, b.known) })
			first := slices.MinFunc(unseen, func(a, b decision) int { return cmp.Compare(a.begun, b.begun) })
			if last.known >= first.begun {
				t.Errorf("beside one another %v, fold %d: it was fitted to what came %d ns later", beside, held, last.known-first.begun)
			}
			for i := range seen {
				if slices.ContainsFunc(unseen, func(at decision) bool { return at.run == seen[i].run }) {
					t.Fatalf("fold %d: it was fitted to run %d", held, seen[i].run)
				}
			}
		}
		if judged < data.Decisions/2 {
			t.Errorf("beside one another %v: judged by %d of %d decisions", beside, judged, data.Decisions)
		}
	}
}

func TestTheLastDecisionsCountWhateverTheirRunsAreCalled(t *testing.T) {
	t.Parallel()
	var all []decision
	for i := range maxDecisions + 1000 {
		all = append(all, decision{run: 9 - i/500, begun: int64(i)}) // the last run is the first by its name
	}
	data := new(Data)
	data.keep(slices.Clone(all))
	if data.Decisions != maxDecisions || data.Runs != 8 || data.all[0].begun != 1000 || data.all[0].run != 0 || data.all[maxDecisions-1].run != 7 {
		t.Errorf("%d decisions of %d runs, from %+v to %+v", data.Decisions, data.Runs, data.all[0], data.all[maxDecisions-1])
	}
}

func TestValueOfASeed(t *testing.T) {
	t.Parallel()
	const (
		success    = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS
		neutral    = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL
		regression = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION
		aborted    = leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED
	)
	nan := float32(math.NaN())
	for name, row := range map[string]struct {
		outcome leyline.FieldReportOutcome
		metrics map[string]float32
		value   float64
		judged  bool
		notes   string
	}{
		"kept":                 {success, map[string]float32{"loss_delta": -0.25, "validation_loss": 0.75}, 1.25, true, ""},
		"kept for accuracy":    {success, map[string]float32{"loss_delta": 0.1, "validation_loss": 0.75}, 1, true, ""},
		"kept, a loss of 0":    {success, map[string]float32{"loss_delta": -0.25, "validation_loss": 0}, 2, true, ""},
		"kept, loss unknown":   {success, map[string]float32{"loss_delta": -0.25}, 0, false, ""},
		"kept, fall unknown":   {success, map[string]float32{"validation_loss": 0.75}, 0, false, ""},
		"kept, loss no number": {success, map[string]float32{"loss_delta": -0.25, "validation_loss": nan}, 0, false, ""},
		"worse":                {regression, nil, 0, true, ""},
		"no better":            {neutral, map[string]float32{"loss_delta": 0}, 0, true, ""},
		"never measured":       {neutral, map[string]float32{"validation_loss": 1}, 0, false, ""},
		"never in the host":    {aborted, nil, 0, false, ""},
		"watched":              {success, map[string]float32{"loss_delta": -1, "validation_loss": 1, "loss_delta_total": 1}, 0, false, ""},
		"restarted":            {neutral, map[string]float32{"loss_delta": -0.1}, 0, false, "trainer_restarted"},
		"culled by somebody":   {neutral, map[string]float32{"loss_delta": -0.1}, 0, false, "retired"},
		"went with another":    {neutral, map[string]float32{"loss_delta": -0.1}, 0, false, "rolled_back_with_another"},
	} {
		value, judged := valueOf(&leyline.FieldReport{Outcome: row.outcome, Metrics: row.metrics, Notes: row.notes}, 0)
		if judged != row.judged || judged && value != row.value {
			t.Errorf("%s: %v, %v", name, value, judged)
		}
	}
}

// What counts is what a policy would have begun of all that stood to choose.
func TestAChoiceIsTheBestOfAll(t *testing.T) {
	t.Parallel()
	better, worse := &decision{blueprints: []string{"good"}}, &decision{blueprints: []string{"bad"}}
	moment := &decision{blueprints: []string{"bad", "good", "other"}}
	for name, row := range map[string]struct {
		worth []float32
		right float64
	}{
		"the better one": {[]float32{1, 2, 0}, 1}, "the worse one": {[]float32{2, 1, 0}, 0}, "the first of equals": {[]float32{1, 1, 0}, 0},
		"another one": {[]float32{1, 2, 3}, neither}, "none": {[]float32{-2, -1, 0}, neither},
	} {
		var answers [][]float32
		for _, worth := range row.worth {
			answers = append(answers, []float32{worth})
		}
		if right := moment.right(choiceOf(answers), better, worse); right != row.right {
			t.Errorf("%s: %v", name, right)
		}
	}
}
