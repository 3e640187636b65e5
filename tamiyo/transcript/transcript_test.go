package transcript

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
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
		BlueprintID: id, Name: rapid.SampledFrom([]string{"", "linear_projection", "no UTF-8: \xff", "<odd>"}).Draw(t, "name"),
		Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: odd.Draw(t, "risk"),
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
		run.Decisions = append(run.Decisions, reread(t, recording))
		for _, command := range decision.Commands {
			run.Commands = append(run.Commands, command.GetCommandId())
		}
	}
	return run
}

// reread is what is read of a decision as it was recorded.
func reread(t rapid.TB, recording *Recording) *Transcript {
	t.Helper()
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
	return read
}

func digestOf(t *rapid.T, d tamiyo.Decision) string {
	o, err := outcomeOf(d, new([]byte))
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

// FuzzTranscript: whatever is read, replays to something or is refused.
func FuzzTranscript(f *testing.F) {
	plain, err := stalledRunOnce(f).appendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte("\x0c{\"format\":1}\x04null"))
	f.Fuzz(func(t *testing.T, plain []byte) {
		text := base64.RawStdEncoding.AppendEncode(nil, append([]byte{packedFast}, s2.Encode(nil, plain)...))
		read := new(Transcript)
		err := read.UnmarshalText(text)
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
