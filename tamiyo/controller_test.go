package tamiyo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

const (
	stageBlending  = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageCulled    = leyline.SeedLifecycleStage_SEED_STAGE_CULLED
	stageEmbargoed = leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED
)

func keyring(t testing.TB) *signing.Keyring {
	t.Helper()
	keys, err := signing.NewKeyring("secret")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func safe(id string, parameters int) Candidate {
	return Candidate{
		BlueprintID: id, Tier: leyline.BlueprintTier_BLUEPRINT_TIER_SAFE, Risk: 0.25, ParameterCount: parameters,
	}
}

func offer(candidates ...Candidate) func(context.Context) ([]Candidate, error) {
	return func(context.Context) ([]Candidate, error) { return candidates, nil }
}

func newTestController(t testing.TB, config Config) *Controller {
	t.Helper()
	if config.Keyring == nil {
		config.Keyring = keyring(t)
	}
	if config.Candidates == nil {
		config.Candidates = offer(safe("BP001", 0), safe("BP002", 100), safe("BP003", 50))
	}
	controller, err := NewController(config)
	if err != nil {
		t.Fatal(err)
	}
	return controller
}

// trainer plays the part of a training run.
type trainer struct {
	t          testing.TB
	controller *Controller
	run        string
	epoch      uint32
	decisions  []Decision
}

func newTrainer(t testing.TB, config Config) *trainer {
	return &trainer{t: t, controller: newTestController(t, config), run: "run-1"}
}

func (tr *trainer) state(loss float32, seeds ...*leyline.SeedState) *leyline.SystemStatePacket {
	return &leyline.SystemStatePacket{
		Version: 1, TrainingRunId: tr.run, CurrentEpoch: tr.epoch, ValidationLoss: loss, ValidationAccuracy: 0.5,
		TimestampNs: uint64(tr.epoch)*1e9 + 1, PacketId: fmt.Sprintf("%s-%d", tr.run, tr.epoch),
		SourceSubsystem: "tolaria", SeedStates: seeds,
	}
}

// report sends the next epoch's state.
func (tr *trainer) report(loss float32, seeds ...*leyline.SeedState) Decision {
	tr.t.Helper()
	tr.epoch++
	return tr.handle(tr.state(loss, seeds...))
}

func (tr *trainer) handle(state *leyline.SystemStatePacket) Decision {
	tr.t.Helper()
	decision, err := tr.controller.HandleState(tr.t.Context(), state)
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.decisions = append(tr.decisions, decision)
	return decision
}

// stall reports the same loss until a seed is asked for.
func (tr *trainer) stall() *leyline.AdaptationCommand {
	tr.t.Helper()
	for range 10 {
		if decision := tr.report(1); len(decision.Commands) > 0 {
			return decision.Commands[0]
		}
	}
	tr.t.Fatal("no seed was asked for")
	return nil
}

func seedState(id string, stage leyline.SeedLifecycleStage) *leyline.SeedState {
	return &leyline.SeedState{SeedId: id, Stage: stage}
}

func measuredSeed(id string, stage leyline.SeedLifecycleStage, accuracyGain float32) *leyline.SeedState {
	state := seedState(id, stage)
	state.Metrics = map[string]float32{
		metricAccuracyBefore: 0.8, metricAccuracyAfter: 0.8 + accuracyGain,
		metricLossBefore: 1, metricLossAfter: 1 - accuracyGain,
	}
	return state
}

func operations(decision Decision) []string {
	var names []string
	for _, command := range decision.Commands {
		names = append(names, operationName(command))
	}
	return names
}

func events(decision Decision) []string {
	var names []string
	for _, packet := range decision.Packets {
		for _, event := range packet.GetEvents() {
			names = append(names, event.GetDescription())
		}
	}
	return names
}

func only(t testing.TB, decision Decision, operation string) *leyline.AdaptationCommand {
	t.Helper()
	if got := operations(decision); !slices.Equal(got, []string{operation}) {
		t.Fatalf("commands %v, want one %s", got, operation)
	}
	return decision.Commands[0]
}

func TestStalledValidationGerminatesASeed(t *testing.T) {
	layers := func(run string) []string { return []string{run + ".fc1", "fc2"} }
	tr := newTrainer(t, Config{MeshLayers: layers})
	tr.report(1)
	for range 3 {
		if decision := tr.report(0.995); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: a seed before patience ran out", tr.epoch)
		}
	}
	command := only(t, tr.report(0.995), "SEED_OP_GERMINATE")
	if command.GetTargetSeedId() != "seed-run-1-5-BP002" || command.GetSeedOperation().GetBlueprintId() != "BP002" {
		t.Errorf("seed %s of %s", command.GetTargetSeedId(), command.GetSeedOperation().GetBlueprintId())
	}
	if command.GetVersion() != 1 || command.GetIssuedBy() != "tamiyo" || command.GetExecutionDeadlineMs() != 60_000 {
		t.Errorf("command %v", command)
	}
	annotations := command.GetAnnotations()
	want := map[string]string{
		"training_run_id": "run-1", "mesh_host_layers": `["run-1.fc1","fc2"]`, "risk_reason": causeStall,
		"policy_version": DefaultPolicyVersion, "blueprint_risk": "0.25", "selected_blueprint": "BP002",
	}
	for name, text := range want {
		if annotations[name] != text {
			t.Errorf("annotation %s is %q, want %q", name, annotations[name], text)
		}
	}
	if err := keyring(t).VerifyCommand(command); err != nil {
		t.Errorf("signature: %v", err)
	}
}

func TestImprovingValidationIsLeftAlone(t *testing.T) {
	tr := newTrainer(t, Config{})
	loss := float32(1)
	for range 30 {
		loss *= 0.98
		if decision := tr.report(loss); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", tr.epoch, operations(decision))
		}
	}
}

func TestPacketsBetweenValidationsAreNoStall(t *testing.T) {
	tr := newTrainer(t, Config{})
	tr.report(1)
	for range 30 {
		tr.epoch++
		state := tr.state(0)
		state.ValidationAccuracy = 0
		if decision := tr.handle(state); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", tr.epoch, operations(decision))
		}
	}
}

func TestGerminateCommandsCarryEverythingTheHostInsistsOn(t *testing.T) {
	command := newTrainer(t, Config{}).stall()
	var layers []string
	err := json.Unmarshal([]byte(command.GetAnnotations()["mesh_host_layers"]), &layers)
	if err != nil || !slices.Equal(layers, []string{"host"}) {
		t.Errorf("mesh layers %v, %v", layers, err)
	}
	if command.GetTargetSeedId() == "" || command.GetSeedOperation().GetBlueprintId() == "" {
		t.Errorf("command %v", command)
	}
}

func TestOnlySafeBlueprintsAreChosen(t *testing.T) {
	experimental := safe("experimental", 900)
	experimental.Tier = leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL
	approval, quarantine := safe("approval", 900), safe("quarantine", 900)
	approval.ApprovalRequired, quarantine.QuarantineOnly = true, true
	bad := []Candidate{experimental, approval, quarantine, safe("empty", 0), safe("", 900)}

	tr := newTrainer(t, Config{Candidates: offer(append(bad, safe("B", 7), safe("A", 7), safe("C", 3))...)})
	if got := tr.stall().GetSeedOperation().GetBlueprintId(); got != "A" {
		t.Errorf("chose %s, want A", got)
	}
}

func TestEmptyLibraryIsSaidOnceAndTriedAgain(t *testing.T) {
	var candidates []Candidate
	tr := newTrainer(t, Config{Candidates: func(context.Context) ([]Candidate, error) { return candidates, nil }})
	said := 0
	for range 10 {
		decision := tr.report(1)
		if len(decision.Commands) > 0 {
			t.Fatalf("commands %v without candidates", operations(decision))
		}
		if slices.Contains(events(decision), "no_seed_candidates") {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times that there are no candidates", said)
	}
	candidates = []Candidate{safe("BP009", 1)}
	only(t, tr.report(1), "SEED_OP_GERMINATE")
}

func TestUnavailableLibraryDoesNotStopTheOtherDecisions(t *testing.T) {
	tr := newTrainer(t, Config{Candidates: func(context.Context) ([]Candidate, error) {
		return nil, errors.New("catalogue down")
	}})
	for range 4 {
		tr.report(1)
	}
	if got := events(tr.report(1)); !slices.Contains(got, "seed_candidates_unavailable") {
		t.Errorf("events %v", got)
	}
}
