package transcript

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/trainer"
)

// oracle is a policy that answers as it was drawn to.
type oracle struct {
	version string
	judge   func(rows [][]float32) ([][]float32, error)
}

func (o oracle) Version() string { return o.version }

func (o oracle) Judge(_ context.Context, rows [][]float32) ([][]float32, error) { return o.judge(rows) }

func drawPolicy(t *rapid.T) tamiyo.Policy {
	switch rapid.IntRange(0, 4).Draw(t, "policy") {
	case 2:
		return oracle{"late", func([][]float32) ([][]float32, error) { return nil, fmt.Errorf("judge: %w", context.DeadlineExceeded) }}
	case 0:
		return oracle{"broken", func([][]float32) ([][]float32, error) { return nil, errors.New("no answer") }}
	case 1:
		tilt := rapid.Float32Range(-1, 1).Draw(t, "tilt")
		return oracle{"tilted", func(rows [][]float32) ([][]float32, error) {
			answers := make([][]float32, len(rows))
			for i, row := range rows {
				answers[i] = make([]float32, tamiyo.FeatureColumns)
				answers[i][0], answers[i][1], answers[i][3] = row[10]*tilt, row[14], tilt
				answers[i][4], answers[i][5], answers[i][6] = row[27]*tilt-3, row[28]-tilt, row[30]*tilt
			}
			return answers, nil
		}}
	default:
		return nil
	}
}

func drawConfig(t *rapid.T) tamiyo.Config {
	active, shadow := drawPolicy(t), drawPolicy(t)
	return tamiyo.Config{
		Patience: rapid.Uint32Range(1, 3).Draw(t, "patience"), MaxGrowing: rapid.IntRange(1, 3).Draw(t, "growing"),
		Conservative: rapid.IntRange(0, 9).Draw(t, "conservative") == 0, MinDelta: rapid.Float64().Draw(t, "delta"),
		ObservationWindow: rapid.Uint32Range(0, 4).Draw(t, "window"),
		Policies:          func() (tamiyo.Policy, tamiyo.Policy) { return active, shadow },
		Rules:             func(run string) map[string]string { return map[string]string{"promotion_min_training": run} },
	}
}

func drawCandidate(t *rapid.T, id string) tamiyo.Candidate {
	odd := rapid.SampledFrom([]float64{0.25, 0.3, 0.1 + 0.2, 0.7, math.NaN(), math.Inf(1), math.Copysign(0, -1)})
	c := tamiyo.Candidate{
		BlueprintID: id, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: odd.Draw(t, "risk"),
		Stage: rapid.Uint32().Draw(t, "stage"), ParameterCount: rapid.IntRange(0, 5000).Draw(t, "parameters"),
		MultiplyAdds: rapid.Int64Range(-1, 10000).Draw(t, "work"), Misfit: rapid.Bool().Draw(t, "misfit"),
		Earned: tamiyo.Earned{Tried: rapid.IntRange(-1, 9).Draw(t, "tried"), Kept: rapid.IntRange(0, 9).Draw(t, "kept"), Gain: odd.Draw(t, "gain")},
	}
	if rapid.Bool().Draw(t, "measured") {
		c.LatencyMS = map[string]float64{"cpu": odd.Draw(t, "latency"), "cuda": 1}
	}
	switch rapid.IntRange(0, 3).Draw(t, "judged") {
	case 0:
		c.BSDS = &leyline.BSDS{}
	case 1:
		c.BSDS = &leyline.BSDS{BlueprintId: id, RiskScore: float32(odd.Draw(t, "bsds")), HazardBand: leyline.HazardBand_HAZARD_BAND_HIGH}
	}
	return c
}

func drawFailure(t *rapid.T) error {
	switch rapid.IntRange(0, 9).Draw(t, "failure") {
	case 0:
		return errors.New(strings.Repeat("not known yet ", 100))
	case 1:
		return fmt.Errorf("ask: %w", context.DeadlineExceeded)
	case 2:
		return errors.New("no UTF-8: \xff\x00 " + strings.Repeat("é", 300))
	default:
		return nil
	}
}

// drawState is a report, on the record of its run.
func drawState(t *rapid.T, record *tamiyo.Record, number uint64) tamiyo.State {
	state := tamiyo.State{
		Packet: &leyline.SystemStatePacket{
			Version: 1, TrainingRunId: "run-1", CurrentEpoch: uint32(number), PacketId: fmt.Sprint("run-1-", number), TimestampNs: number,
			ValidationLoss:     rapid.SampledFrom([]float32{1, 1, 1, 0.9, 1.3, 0, float32(math.NaN())}).Draw(t, "loss"),
			ValidationAccuracy: 0.5, TrainingMetrics: map[string]float32{"step_latency_ms": rapid.Float32().Draw(t, "latency")},
		},
		Grows: rapid.IntRange(0, 19).Draw(t, "grows") > 0, TrainerID: "process-1", Number: number,
		HostLayers: []string{"fc1", "fc2"},
		Slots: rapid.MapOf(rapid.SampledFrom([]string{"layer1", "layer2", `<"odd">`}), rapid.SliceOfN(rapid.IntRange(1, 64), 1, 3)).
			Draw(t, "slots"),
		Grafts: map[string]trainer.Graft{}, Closed: rapid.SampledFrom([]string{"", "", "", "emergency"}).Draw(t, "closed"),
		Patience: rapid.SampledFrom([]time.Duration{0, time.Minute, time.Hour}).Draw(t, "patience"),
	}
	for _, id := range seedsOf(t, record) {
		if reason := rapid.SampledFrom([]string{"", "", "", "retired", "no_gain"}).Draw(t, "gone"); reason != "" {
			gone := map[string]string{id: reason}
			state.Gone = func(id string) string { return gone[id] }
			state.Held = []string{id}
			state.Lives = func(other string) bool { return other != id }
		}
		at := leyline.SeedLifecycleStage(rapid.Int32Range(1, 11).Draw(t, "stage"))
		state.Packet.SeedStates = append(state.Packet.SeedStates, &leyline.SeedState{SeedId: id, Stage: at, Metrics: map[string]float32{
			trainer.MetricLossBefore: 1, trainer.MetricLossAfter: rapid.Float32Range(0.8, 1.2).Draw(t, "after"),
		}})
	}
	if rapid.Bool().Draw(t, "asks") {
		known := drawCandidate(t, "BP002")
		failure := drawFailure(t)
		state.Blueprint = func(id string) (tamiyo.Candidate, bool, error) {
			answer := known
			answer.BlueprintID = id
			return answer, id != "BP003", failure
		}
	}
	return state
}

// seedsOf are the seeds that a record remembers.
func seedsOf(t *rapid.T, record *tamiyo.Record) (ids []string) {
	text, err := json.Marshal(record)
	if err != nil {
		t.Fatal(err)
	}
	var seeds struct{ Seeds []struct{ ID string } }
	if err := json.Unmarshal(text, &seeds); err != nil {
		t.Fatal(err)
	}
	for _, s := range seeds.Seeds {
		ids = append(ids, s.ID)
	}
	return ids
}

func drawOffer(t *rapid.T) func([]int) ([]tamiyo.Candidate, error) {
	if rapid.IntRange(0, 9).Draw(t, "offers") == 0 {
		return nil
	}
	var all []tamiyo.Candidate
	for _, id := range []string{"BP002", "BP003", "BP004", "BP\xff5"} {
		all = append(all, drawCandidate(t, id))
	}
	failure := drawFailure(t)
	return func([]int) ([]tamiyo.Candidate, error) { return all, failure }
}

// drawRun is the record of a run, as it is read back from where it was kept.
func drawRun(t *rapid.T) Run {
	controller := tamiyo.NewController(drawConfig(t))
	run := Run{ID: "run-1"}
	var record *tamiyo.Record
	now := time.Unix(1_800_000_000, 123)
	for n := range rapid.IntRange(1, 25).Draw(t, "reports") {
		now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(t, "wait"))
		state, offer := drawState(t, record, uint64(n)+1), drawOffer(t)
		decision, recording := Decide(controller, record, state, now, offer)
		plain := controller.Decide(record, state, now, offer)
		if len(decision.Commands) != len(plain.Commands) || digestOf(t, decision) != digestOf(t, plain) {
			t.Fatal("a controller that is listened to decides differently")
		}
		if decision.Record == nil {
			continue
		}
		record = decision.Record
		written, err := recording.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		text, err := new(Writer).Text(written)
		if err != nil {
			t.Fatal(err)
		}
		read := new(Transcript)
		if err := read.UnmarshalText(text); err != nil {
			t.Fatalf("read back: %v", err)
		}
		run.Decisions = append(run.Decisions, read)
		for _, command := range decision.Commands {
			run.Commands = append(run.Commands, command.GetCommandId())
		}
	}
	return run
}

func digestOf(t *rapid.T, d tamiyo.Decision) string {
	o, err := outcomeOf(d)
	if err != nil {
		t.Fatal(err)
	}
	return o.Record + o.Telemetry
}

// TestRecordReplaysToTheSameDecisions byte by byte, whatever the controller was told.
func TestRecordReplaysToTheSameDecisions(t *testing.T) {
	t.Parallel()
	commands := 0
	rapid.Check(t, func(t *rapid.T) {
		run := drawRun(t)
		result, err := run.Replay()
		if err != nil || result.Difference != nil || len(result.Missing) > 0 || result.Decisions != len(run.Decisions) {
			t.Fatalf("%+v, %v, %v", result, result.Difference, err)
		}
		commands += result.Commands
	})
	if commands == 0 {
		t.Error("nothing was decided")
	}
}

// stalledRun is one in which a seed is begun.
func stalledRun(t *testing.T, reports int) Run {
	t.Helper()
	return stalledRunBy(t, reports, func(n int) int64 { return int64(n) })
}

// stalledRunBy is one whose reports come at these seconds.
func stalledRunBy(t *testing.T, reports int, clock func(n int) int64) Run {
	t.Helper()
	controller := tamiyo.NewController(tamiyo.Config{Patience: 2})
	run := Run{ID: "run-1"}
	var record *tamiyo.Record
	for n := range reports {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{
				TrainingRunId: "run-1", CurrentEpoch: uint32(n), ValidationLoss: 1, PacketId: fmt.Sprint("p-", n),
			},
			Grows: true, TrainerID: "process-1", Number: uint64(n) + 1, HostLayers: []string{"fc1"}, Slots: map[string][]int{"layer1": {32}},
		}
		decision, recording := Decide(controller, record, state, time.Unix(1_800_000_000+clock(n), 0), func([]int) ([]tamiyo.Candidate, error) {
			return []tamiyo.Candidate{{
				BlueprintID: "BP002", Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.2, ParameterCount: 100, MultiplyAdds: 100,
			}}, nil
		})
		written, err := recording.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		record = decision.Record
		run.Decisions = append(run.Decisions, written)
		for _, command := range decision.Commands {
			run.Commands = append(run.Commands, command.GetCommandId())
		}
	}
	if len(run.Commands) == 0 {
		t.Fatal("no seed was begun")
	}
	return run
}

// Clocks are set back, and instances have their own: records follow each other all the same.
func TestDecisionsAreReadInTheOrderOfTheirRecords(t *testing.T) {
	for name, clock := range map[string]func(n int) int64{
		"forwards": func(n int) int64 { return int64(n) }, "backwards": func(n int) int64 { return int64(-n) },
		"at once": func(int) int64 { return 0 }, "set back in between": func(n int) int64 { return int64(n % 3) },
	} {
		t.Run(name, func(t *testing.T) {
			run := stalledRunBy(t, 6, clock)
			for _, lost := range []int{-1, 0} {
				var export strings.Builder
				export.WriteString(`{"run":{"id":"run-1"}}` + "\n")
				for _, i := range []int{3, 5, 1, 0, 2, 4, 2} { // one of them twice
					text, err := new(Writer).Text(run.Decisions[i])
					if err != nil {
						t.Fatal(err)
					}
					if i != lost {
						fmt.Fprintf(&export, `{"decision":{"run":"run-1","transcript":%q}}`+"\n", text)
					}
				}
				fmt.Fprintf(&export, `{"end":{"run":"run-1","lines":%d}}`+"\n", strings.Count(export.String(), "\n"))
				read, err := ReadRuns(strings.NewReader(export.String()))
				if err != nil {
					t.Fatal(err)
				}
				result, err := read[0].Replay()
				if err != nil || result.Difference != nil || len(result.Missing) != lost+1 || result.Decisions != 6-(lost+1) {
					t.Errorf("without %d: %+v, %v, %v", lost, result, result.Difference, err)
				}
			}
		})
	}
}

func TestReplayNamesTheFirstDifference(t *testing.T) {
	command := func(r Run) *Transcript {
		return r.Decisions[slices.IndexFunc(r.Decisions, func(t *Transcript) bool { return len(t.Outcome.Commands) > 0 })]
	}
	for name, row := range map[string]struct {
		change func(r Run)
		what   string
	}{
		"command": {func(r Run) {
			given := new(leyline.AdaptationCommand)
			if err := proto.Unmarshal(command(r).Outcome.Commands[0], given); err != nil {
				t.Fatal(err)
			}
			given.Annotations["stalled_epochs"] = "99"
			command(r).Outcome.Commands[0], _ = deterministic(given)
		}, "command 1"},
		"withheld":  {func(r Run) { command(r).Outcome.Commands = nil }, "command 1"},
		"evidence":  {func(r Run) { command(r).Slots[0].Candidates[0].Risk = 0.4 }, "command 1"},
		"question":  {func(r Run) { command(r).Slots = nil }, "command 1"},
		"setting":   {func(r Run) { r.Decisions[0].Settings.Patience = 0; r.Decisions[2].Settings.Patience = 9 }, "command 1"},
		"telemetry": {func(r Run) { r.Decisions[1].Outcome.Telemetry = "x" }, "telemetry, by SHA-256"},
		"record":    {func(r Run) { r.Decisions[1].Outcome.Record = "x" }, "record of the run, by SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			run := stalledRun(t, 6)
			row.change(run)
			result, err := run.Replay()
			if d, differs := errors.AsType[*difference](result.Difference); err != nil || !differs || d.What != row.what {
				t.Errorf("%+v, %v, %v", result, result.Difference, err)
			}
		})
	}
}

func TestReplayTellsWhatTheRecordLacks(t *testing.T) {
	whole := stalledRun(t, 6)
	for name, row := range map[string]struct {
		lacks   func(r *Run)
		missing []string
	}{
		"nothing":   {func(*Run) {}, nil},
		"beginning": {func(r *Run) { r.Decisions = r.Decisions[1:] }, []string{`what was decided before report 2 of trainer "process-1"`}},
		"middle": {
			func(r *Run) { r.Decisions = slices.Delete(r.Decisions, 1, 2) },
			[]string{`what was decided between report 1 of trainer "process-1" and report 3 of trainer "process-1"`},
		},
		"end":     {func(r *Run) { r.Cut = true }, []string{"the end of its export"}},
		"command": {func(r *Run) { r.Commands = append(r.Commands, "other") }, []string{`the decision that gave command "other"`}},
	} {
		t.Run(name, func(t *testing.T) {
			run := Run{ID: whole.ID, Decisions: slices.Clone(whole.Decisions), Commands: slices.Clone(whole.Commands)}
			row.lacks(&run)
			result, err := run.Replay()
			if err != nil || result.Difference != nil || !slices.Equal(result.Missing, row.missing) {
				t.Errorf("%+v, %v, %v", result, result.Difference, err)
			}
		})
	}
}

func TestReadRunsRefusesWhatIsNoExport(t *testing.T) {
	text, err := new(Writer).Text(stalledRun(t, 6).Decisions[0])
	if err != nil {
		t.Fatal(err)
	}
	of := func(run string) string { return fmt.Sprintf(`{"decision":{"run":%q,"transcript":%q}}`, run, text) }
	const head = `{"run":{"id":"run-1"}}` + "\n"
	if runs, err := ReadRuns(strings.NewReader(head + `{"report":{"run":"run-1"}}` + "\n" + of("run-1"))); err != nil || len(runs[0].Decisions) != 1 {
		t.Errorf("%+v, %v", runs, err)
	}
	for end, cut := range map[string]bool{`{"end":{"run":"run-1","lines":2}}`: false, `{"end":{"run":"run-1","lines":3}}`: true, "": true} {
		if runs, err := ReadRuns(strings.NewReader(head + of("run-1") + "\n" + end)); err != nil || runs[0].Cut != cut {
			t.Errorf("with the end %q: %+v, %v", end, runs, err)
		}
	}
	for _, export := range []string{
		"no json", of("run-1"), head + of("other"), head + `{"decision":{"run":"run-1"}}`, head + `{"decision":{"run":"run-1","transcript":"x"}}`,
		head + `{"event":{"run":"other","kind":"command"}}`,
	} {
		var line *LineError
		if _, err := ReadRuns(strings.NewReader(export)); !errors.As(err, &line) || !errors.Is(err, errMalformed) {
			t.Errorf("%.60q: %v", export, err)
		}
	}
	if _, err := ReadRuns(strings.NewReader(strings.Repeat("x", maxLine+1))); err == nil {
		t.Error("a line without an end is read")
	}
}

// TestTranscriptFits: one in which seeds were begun at many slots is packed tighter, and one that
// is too large all the same is refused.
func TestTranscriptFits(t *testing.T) {
	of := func(slots int, policies func() (tamiyo.Policy, tamiyo.Policy), candidates func([]int) ([]tamiyo.Candidate, error)) *Transcript {
		state := tamiyo.State{
			Packet: &leyline.SystemStatePacket{TrainingRunId: "r", ValidationLoss: 1}, Grows: true, TrainerID: "t",
			HostLayers: []string{"fc1"}, Slots: map[string][]int{},
		}
		for i := range slots {
			state.Slots[fmt.Sprint("layer", i)] = []int{32 + i}
		}
		controller := tamiyo.NewController(tamiyo.Config{Patience: 1, MaxGrowing: 64, Policies: policies})
		var record *tamiyo.Record
		var recording *Recording
		for n := range 2 {
			state.Number = uint64(n) + 1
			var decision tamiyo.Decision
			decision, recording = Decide(controller, record, state, time.Unix(1_800_000_000, 0), candidates)
			record = decision.Record
		}
		written, err := recording.Transcript()
		if err != nil || len(written.Slots) == 0 {
			t.Fatalf("%d slots were looked at, %v", len(written.Slots), err)
		}
		return written
	}
	for _, row := range []struct {
		slots, times int // and so many times 50 blueprints for each
		fits         bool
	}{{1, 1, true}, {64, 1, true}, {64, 8, false}} {
		written := of(row.slots, nil, func(slot []int) (all []tamiyo.Candidate, _ error) {
			for i := range row.times {
				few, _ := bearable([]int{slot[0] + i})
				all = append(all, few...)
			}
			return all, nil
		})
		text, err := new(Writer).Text(written)
		t.Logf("%+v: %d bytes", row, len(text))
		if (err == nil) != row.fits || !row.fits && !errors.Is(err, errTooLarge) || len(written.Slots) != row.slots {
			t.Errorf("%+v: %d slots were looked at, %v", row, len(written.Slots), err)
		}
	}
	// Two policies that were asked about all of it, and would begin none.
	written := of(64, func() (tamiyo.Policy, tamiyo.Policy) { return unwilling("active"), unwilling("shadow") }, bearable)
	text, err := new(Writer).Text(written)
	t.Logf("in vain with two policies: %d bytes", len(text))
	if asked := len(written.Slots); err != nil || len(written.Policies[0].Answers) != asked || len(written.Policies[1].Answers) != asked {
		t.Errorf("asked %d and %d times: %v", len(written.Policies[0].Answers), len(written.Policies[1].Answers), err)
	}
	read := new(Transcript)
	if err := read.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	if _, err := read.Decide(nil); err != nil {
		t.Error(err)
	}
}

// choosy begins nothing at slots of few features, and at wider ones what the controller would
// take last.
type choosy struct{}

func (choosy) Version() string { return "choosy" }

func (choosy) Judge(_ context.Context, rows [][]float32) ([][]float32, error) {
	answers := make([][]float32, len(rows))
	for i, row := range rows {
		answers[i] = make([]float32, tamiyo.AnswerColumns)
		answers[i][0] = -1
		if row[9] > 1 { // of more than ten
			answers[i][0] = 1 - row[tamiyo.FeatureWorth]
		}
	}
	return answers, nil
}

// What was considered beside a seed that is begun goes into its field report, however much
// was looked at before.
func TestSeedBegunBehindManyRowsReplays(t *testing.T) {
	for _, narrow := range []int{1, 3, 4, 5, 20} {
		slots := map[string][]int{"wide": {16}}
		for i := range narrow {
			slots[fmt.Sprint("narrow", i)] = []int{8}
		}
		offered := make([]tamiyo.Candidate, 34)
		for i := range offered {
			offered[i] = tamiyo.Candidate{
				BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.2,
				ParameterCount: 100 * (i + 1), MultiplyAdds: 100,
			}
		}
		controller := tamiyo.NewController(tamiyo.Config{
			Patience: 1, Policies: func() (active, shadow tamiyo.Policy) { return choosy{}, choosy{} },
		})
		var record *tamiyo.Record
		begun := 0
		for n := range 7 { // which go on behind each other
			state := tamiyo.State{
				Packet: &leyline.SystemStatePacket{TrainingRunId: "r", CurrentEpoch: uint32(n), ValidationLoss: 1, PacketId: fmt.Sprint(n)},
				Grows:  true, TrainerID: "t", Number: uint64(n) + 1, HostLayers: []string{"fc"}, Slots: slots,
			}
			decision, recording := Decide(controller, record, state, time.Unix(int64(1_800_000_000+n), 0),
				func([]int) ([]tamiyo.Candidate, error) { return offered, nil })
			record = decision.Record
			begun += len(decision.Commands)
			written, err := recording.Transcript()
			if err != nil {
				t.Fatal(err)
			}
			text, err := new(Writer).Text(written)
			if err != nil {
				t.Fatal(err)
			}
			read := new(Transcript)
			if err := read.UnmarshalText(text); err != nil {
				t.Fatal(err)
			}
			if _, err := read.Decide(nil); err != nil {
				t.Errorf("behind %d slots: %v", narrow, err)
			}
		}
		if begun == 0 {
			t.Errorf("behind %d slots nothing was begun", narrow)
		}
	}
}

// unwilling is a policy whose answers have as many digits as answers may.
func unwilling(version string) tamiyo.Policy {
	return oracle{version, func(rows [][]float32) ([][]float32, error) {
		answers := make([][]float32, len(rows))
		for i, row := range rows {
			odd := row[10]*1.2345678 + row[11]*0.7654321 + float32(len(version))
			answers[i] = make([]float32, tamiyo.AnswerColumns)
			copy(answers[i], []float32{-1 - odd, odd / 100, odd, -odd})
		}
		return answers, nil
	}}
}

// bearable are those of risky, with a risk that the rules bear.
func bearable(slot []int) ([]tamiyo.Candidate, error) {
	all, err := risky(slot)
	for i := range all {
		all[i].Risk /= 2
		all[i].ParameterCount++
	}
	return all, err
}

// risky are 50 blueprints of which none may be begun.
func risky(slot []int) (all []tamiyo.Candidate, _ error) {
	for i := range 50 {
		all = append(all, tamiyo.Candidate{
			BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.6 + 0.01*float64(i%7),
			ParameterCount: 97 * i * slot[0], MultiplyAdds: int64(1013 * i * slot[0]),
			LatencyMS: map[string]float64{"cpu": 0.0137 * float64(i), "cuda": 0.00371 * float64(i)},
			Earned:    tamiyo.Earned{Tried: 3 * i, Kept: i, Gain: 0.0123 * float64(i)},
		})
	}
	return all, nil
}

// FuzzTranscript: whatever is read, replays to something or is refused.
func FuzzTranscript(f *testing.F) {
	plain, err := json.Marshal((*plainTranscript)(stalledRunOnce(f)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte(`{"format":1,"record":null,"packet":"","policies":[null,null]}`))
	f.Fuzz(func(t *testing.T, plain []byte) {
		text, err := new(Writer).pack(plain)
		if err != nil {
			return
		}
		read := new(Transcript)
		err = read.UnmarshalText(text)
		if err != nil {
			if !errors.Is(err, errMalformed) && !errors.Is(err, errTooLarge) {
				t.Errorf("%v", err)
			}
			return
		}
		if _, err := read.Decide(nil); err != nil && !errors.As(err, new(*difference)) {
			t.Errorf("what was read cannot be replayed: %v", err)
		}
	})
}

func stalledRunOnce(f *testing.F) *Transcript {
	f.Helper()
	controller := tamiyo.NewController(tamiyo.Config{})
	state := tamiyo.State{Packet: &leyline.SystemStatePacket{TrainingRunId: "r"}, Grows: true, TrainerID: "t", Number: 1}
	_, recording := Decide(controller, nil, state, time.Unix(1_800_000_000, 0), nil)
	only, err := recording.Transcript()
	if err != nil {
		f.Fatal(err)
	}
	return only
}

// BenchmarkWriting is what it takes to write a decision down in which 30 blueprints were
// weighed.
func BenchmarkWriting(b *testing.B) {
	var all []tamiyo.Candidate
	for i := range 30 {
		all = append(all, tamiyo.Candidate{
			BlueprintID: fmt.Sprintf("BP%03d", i), Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.1 * float64(i%5),
			ParameterCount: 100 * i, MultiplyAdds: int64(1000 * i), LatencyMS: map[string]float64{"cpu": 0.01 * float64(i)},
		})
	}
	state := tamiyo.State{
		Packet: &leyline.SystemStatePacket{TrainingRunId: "r", ValidationLoss: 1}, Grows: true, TrainerID: "t",
		HostLayers: []string{"fc1"}, Slots: map[string][]int{"layer1": {32}},
	}
	controller := tamiyo.NewController(tamiyo.Config{Patience: 1})
	var record *tamiyo.Record
	var recording *Recording
	for n := range 2 {
		state.Number = uint64(n) + 1
		var decision tamiyo.Decision
		decision, recording = Decide(controller, record, state, time.Unix(1_800_000_000, 0), func([]int) ([]tamiyo.Candidate, error) { return all, nil })
		record = decision.Record
	}
	size, writer := 0, new(Writer)
	b.ReportAllocs()
	for b.Loop() {
		t, err := recording.Transcript()
		if err != nil {
			b.Fatal(err)
		}
		text, err := writer.Text(t)
		if err != nil {
			b.Fatal(err)
		}
		size = len(text)
	}
	b.ReportMetric(float64(size), "bytes")
}

// Up to 64 seeds ended lately, and most transcripts are of reports with which none does.
func TestTranscriptHasOnlyWhatWasAskedOfSeedsThatEnded(t *testing.T) {
	t.Parallel()
	controller := tamiyo.NewController(tamiyo.Config{Patience: 1})
	state := tamiyo.State{
		Grows: true, TrainerID: "process-1", HostLayers: []string{"fc1"}, Slots: map[string][]int{"layer1": {4}},
		Grafts: map[string]trainer.Graft{"ended": {Slot: "layer1", Blueprint: "BP002"}},
		Gone:   func(string) string { return "retired" },
	}
	alive := &leyline.SeedState{SeedId: "ended", Stage: leyline.SeedLifecycleStage_SEED_STAGE_TRAINING}
	var record *tamiyo.Record
	var asked []map[string]string
	for _, seeds := range [][]*leyline.SeedState{{alive}, {}, {}, {}} {
		state.Number++
		state.Packet = &leyline.SystemStatePacket{TrainingRunId: "run-1", CurrentEpoch: uint32(state.Number), ValidationLoss: 1, SeedStates: seeds}
		decision, recording := Decide(controller, record, state, time.Unix(1_800_000_000+int64(state.Number), 0), nil)
		record = decision.Record
		written, err := recording.Transcript()
		if err != nil {
			t.Fatal(err)
		}
		if asked = append(asked, written.Report.Gone); len(decision.Reports) > 0 != (len(written.Report.Gone) > 0) {
			t.Errorf("report %d: %d seeds ended, asked %v", state.Number, len(decision.Reports), written.Report.Gone)
		}
		if _, err := written.Decide(nil); err != nil {
			t.Error(err)
		}
	}
	want := map[string]string{"ended": "retired"}
	if !slices.ContainsFunc(asked, func(told map[string]string) bool { return maps.Equal(told, want) }) {
		t.Errorf("asked %v, want %v once", asked, want)
	}
}
