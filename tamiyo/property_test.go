package tamiyo

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// step is what Decide is called with beside the record.
type step struct {
	state  State
	now    time.Time
	offer  func([]int) ([]Candidate, error)
	silent bool // the library tells of no seed's blueprint
}

// drawSteps draws the life of a run as a hostile bus delivers it: trainers that
// restart, reports doubled, late and reordered, and garbage in every field.
func drawSteps(t *rapid.T) []step {
	var steps []step
	process, number, epoch := 1, uint64(0), uint32(0)
	now := time.Unix(1_800_000_000, 0)
	for range rapid.IntRange(1, 50).Draw(t, "reports") {
		now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute}).Draw(t, "wait"))
		if rapid.IntRange(0, 15).Draw(t, "restart") == 0 {
			process, number = process+1, 0
			epoch -= min(epoch, rapid.Uint32Range(0, 5).Draw(t, "lost"))
		}
		number += rapid.Uint64Range(1, 2).Draw(t, "number")
		epoch += rapid.Uint32Range(0, 1).Draw(t, "epoch")
		state := drawState(t, epoch)
		if state.Grows = rapid.IntRange(0, 20).Draw(t, "grows") > 0; state.Grows {
			state.TrainerID, state.Number = fmt.Sprint("process-", process), number
		}
		next := step{state: state, now: now, offer: drawOffer(t)}
		next.state.Blueprint, next.silent = drawLibrary(t)
		steps = append(steps, next)
		for rapid.IntRange(0, 4).Draw(t, "again") == 0 {
			late := steps[rapid.IntRange(0, len(steps)-1).Draw(t, "which")]
			late.now = now
			steps = append(steps, late)
		}
	}
	return steps
}

func drawState(t *rapid.T, epoch uint32) State {
	loss := rapid.SampledFrom([]float32{1, 1, 1, 1, 0.9, 1.3, 0, float32(math.NaN())}).Draw(t, "loss")
	names := rapid.SampledFrom([]string{"layer1", "layer2", "", `"odd"`})
	ids := rapid.SampledFrom([]string{"mine", "foreign", "other", "", `<"odd">`})
	state := State{
		Packet:     packetOf(epoch, loss),
		HostLayers: rapid.SampledFrom([][]string{{"fc1", "fc2"}, {"fc1"}, nil}).Draw(t, "layers"),
		Slots:      rapid.MapOf(names, rapid.SliceOfN(rapid.IntRange(1, 64), 1, 3)).Draw(t, "slots"),
		Grafts:     map[string]trainer.Graft{},
		Closed:     rapid.SampledFrom([]string{"", "", "", "emergency"}).Draw(t, "closed"),
	}
	if rapid.Bool().Draw(t, "costs") {
		state.Packet.TrainingMetrics = map[string]float32{trainer.MetricHostMultiplyAdds: rapid.Float32().Draw(t, "host")}
	}
	for range rapid.IntRange(0, 4).Draw(t, "seeds") {
		id := ids.Draw(t, "id")
		if id == "mine" { // that is, one that was asked for: its name is known to the test's record only
			id = fmt.Sprint("seed-", rapid.IntRange(0, 3).Draw(t, "mine"))
		}
		at := stage(rapid.Int32Range(-1, 12).Draw(t, "stage"))
		seed := measuredSeed(id, at, rapid.SampledFrom([]float32{-0.1, 0, 0.1}).Draw(t, "gain"))
		if rapid.Bool().Draw(t, "noise") {
			seed.Metrics[trainer.MetricLossError] = rapid.Float32().Draw(t, "error")
		}
		if rapid.IntRange(0, 9).Draw(t, "failed") == 0 {
			seed = failedSeed(id, trainer.AttachFailure(rapid.IntRange(-1, 10).Draw(t, "reason")))
		}
		seed.AgeEpochs = rapid.SampledFrom([]uint32{0, 3, 50, math.MaxUint32}).Draw(t, "age")
		state.Packet.SeedStates = append(state.Packet.SeedStates, seed)
		if rapid.Bool().Draw(t, "graft") {
			state.Grafts[id] = trainer.Graft{Slot: names.Draw(t, "slot"), Blueprint: "BP002"}
		}
	}
	return state
}

func drawOffer(t *rapid.T) func([]int) ([]Candidate, error) {
	switch rapid.IntRange(0, 9).Draw(t, "library") {
	case 0:
		return nil
	case 1:
		return func([]int) ([]Candidate, error) { return nil, errors.New("not known yet") }
	case 2:
		return offer()
	default:
		return offer(safe("BP002", 9), safe("BP003", 5), safe("BP004", 5))
	}
}

// drawLibrary is what it tells of the blueprints of seeds, and whether that is nothing.
func drawLibrary(t *rapid.T) (tells func(string) (Candidate, bool, error), silent bool) {
	switch rapid.IntRange(0, 7).Draw(t, "blueprints") {
	case 0:
		return broken, true
	case 1:
		return late, true
	case 2:
		return know(), false
	case 3:
		return know(quarantined("BP002")), false
	case 4:
		return nil, false
	default:
		return know(safe("BP002", 9), safe("BP003", 5), safe("BP004", 5)), false
	}
}

// renamed lets the drawn seeds be those that the run really asked for.
func renamed(state State, record *Record) State {
	if record == nil || len(record.Seeds) == 0 {
		return state
	}
	packet := packetOf(state.Packet.GetCurrentEpoch(), state.Packet.GetValidationLoss())
	packet.TrainingMetrics = state.Packet.GetTrainingMetrics()
	for i, seed := range state.Packet.GetSeedStates() {
		copied := &leyline.SeedState{
			SeedId: seed.GetSeedId(), Stage: seed.GetStage(), Metrics: seed.GetMetrics(), AgeEpochs: seed.GetAgeEpochs(),
		}
		if i < len(record.Seeds) && i%2 == 0 {
			copied.SeedId = record.Seeds[i].ID
		}
		packet.SeedStates = append(packet.SeedStates, copied)
	}
	state.Packet = packet
	return state
}

// TestDecisions holds what is true of a decision in whatever state a run is.
func TestDecisions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		config := Config{MaxGrowing: rapid.IntRange(0, 3).Draw(t, "growing"), Policies: drawPolicies(t)}
		here, there := NewController(config), NewController(config)
		var record *Record
		issued, reported := map[string]bool{}, map[string]bool{}
		for _, step := range drawSteps(t) {
			state := renamed(step.state, record)
			before := encoded(t, record)
			decision := here.Decide(record, state, step.now, step.offer)
			if after := encoded(t, record); after != before {
				t.Fatalf("the record given was changed from %s to %s", before, after)
			}
			again := there.Decide(record, state, step.now, step.offer)
			if diff := cmp.Diff(decision, again, protocmp.Transform(), cmpopts.EquateNaNs(), cmp.Comparer(equalRecords)); diff != "" {
				t.Fatalf("two instances decide differently: %s", diff)
			}
			if !state.Grows && len(decision.Commands)+len(decision.Reports) > 0 {
				t.Fatalf("a trainer that only reports: %v %v", operations(decision), decision.Reports)
			}
			if decision.Repeated && (decision.Record != nil || len(decision.Commands)+len(decision.Packets)+len(decision.Reports) > 0) {
				t.Fatalf("repeated, and yet %+v", decision)
			}
			checkCommands(t, state, decision.Commands, issued)
			checkUntold(t, step, record, decision)
			checkEarned(t, state, decision)
			for _, report := range decision.Reports {
				if reported[report.GetReportId()] {
					t.Fatalf("report id %s used twice", report.GetReportId())
				}
				reported[report.GetReportId()] = true
			}
			if decision.Record != nil {
				record = travelled(t, decision.Record)
				checkGrowing(t, record, max(config.MaxGrowing, 1), decision.Commands)
			}
			if repeated := here.Decide(record, state, step.now, step.offer); !repeated.Repeated {
				t.Fatalf("delivered again, it is news: %+v", repeated)
			}
		}
	})
}

// drawPolicies draws what decides and what stands in the shadow; either may say anything.
func drawPolicies(t *rapid.T) func() (active, shadow Policy) {
	draw := func(name string) *judge {
		if rapid.Bool().Draw(t, name) {
			return nil
		}
		tilts := rapid.SliceOfN(rapid.Float32Range(-2, 2), AnswerColumns, AnswerColumns).Draw(t, name+" says")
		return &judge{version: name, answer: func(row []float32) []float32 {
			answer := slices.Clone(tilts)
			for i := range answer {
				answer[i] += row[10]/8 - row[27]/8 + row[30]*answer[i] // it differs from one to the other
			}
			return answer
		}}
	}
	return decidedBy(draw("active"), draw("shadow"))
}

func encoded(t *rapid.T, record *Record) string {
	data, err := json.Marshal(record)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(data)
}

// checkCommands: a pass gives each seed one command at most, under an id of its
// own, and nothing that Kasmina would refuse by its form.
func checkCommands(t *rapid.T, state State, commands []*leyline.AdaptationCommand, issued map[string]bool) {
	targets := map[string]bool{}
	for _, command := range commands {
		annotations := command.GetAnnotations()
		if command.GetTargetSeedId() == "" || annotations["training_run_id"] == "" || annotations["signature"] != "" {
			t.Fatalf("command %v", command)
		}
		operation := command.GetSeedOperation()
		if operation != nil && (operation.GetBlueprintId() == "" || annotations["mesh_host_layers"] != layerList(state.HostLayers) ||
			len(state.HostLayers) == 0) {
			t.Fatalf("seed command without blueprint or mesh: %v", command)
		}
		if germinates(command) && state.Closed != "" {
			t.Fatalf("a seed, and none can be begun: %v", command)
		}
		if germinates(command) && state.Slots[annotations["slot"]] == nil && annotations["blueprint_worth"] != "" {
			t.Fatalf("a seed for a slot that is none: %v", command)
		}
		if targets[command.GetTargetSeedId()] || issued[command.GetCommandId()] {
			t.Fatalf("seed %s commanded twice", command.GetTargetSeedId())
		}
		targets[command.GetTargetSeedId()], issued[command.GetCommandId()] = true, true
	}
}

// checkUntold: of what nobody tells, nothing is kept, brought back or asked for again.
func checkUntold(t *rapid.T, step step, before *Record, decision Decision) {
	if !step.silent || before == nil || decision.Record == nil {
		return
	}
	for _, command := range decision.Commands {
		_, known := before.seed(command.GetTargetSeedId())
		s, _ := decision.Record.seed(command.GetTargetSeedId())
		fossilizes := command.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_FOSSILIZE
		if fossilizes || known && s.Blueprint != "" && (germinates(command) || command.GetAnnotations()["resume"] == "true") {
			t.Fatalf("the library is silent, and yet %v", command)
		}
	}
	lives := func(s seed) bool { return !s.Ended && !s.awaited() && s.Blueprint != "" }
	if slices.Contains(events(decision), eventExited) && slices.ContainsFunc(decision.Record.Seeds, lives) {
		t.Fatalf("the library is silent, and conservative mode ends: %+v", decision.Record)
	}
}

// checkEarned: whoever asks for it, what is kept has been measured, is better, and is not kept out of the output.
func checkEarned(t *rapid.T, state State, decision Decision) {
	for _, command := range decision.Commands {
		if command.GetSeedOperation().GetOperation() != leyline.SeedOperation_SEED_OP_FOSSILIZE {
			continue
		}
		s, _ := decision.Record.seed(command.GetTargetSeedId())
		if s.Stage != stageProbationary || s.Improving == 0 || s.Paused || !s.Evidence.Better || s.Regressing > 0 {
			t.Fatalf("kept, and it is %+v: %v", s, state.Packet)
		}
	}
}

func germinates(command *leyline.AdaptationCommand) bool {
	return command.GetSeedOperation().GetOperation() == leyline.SeedOperation_SEED_OP_GERMINATE
}

// checkGrowing: what this pass has asked for finds its slot free and the run
// below its limit.
func checkGrowing(t *rapid.T, record *Record, most int, commands []*leyline.AdaptationCommand) {
	if len(record.Seeds) > maxSeeds {
		t.Fatalf("%d seeds", len(record.Seeds))
	}
	for _, command := range commands {
		if !germinates(command) || command.GetAnnotations()["blueprint_worth"] == "" {
			continue
		}
		slot := command.GetAnnotations()["slot"]
		there := slices.DeleteFunc(slices.Clone(record.Seeds), func(s seed) bool { return s.Ended || s.Slot != slot })
		if len(there) != 1 || record.growing() > most {
			t.Fatalf("%d seeds grow at slot %s, %d in all", len(there), slot, record.growing())
		}
	}
}
