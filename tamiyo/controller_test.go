package tamiyo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

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

func TestSeedThatEarnedItIsFossilized(t *testing.T) {
	tr := newTrainer(t, Config{})
	germinate := tr.stall()
	id := germinate.GetTargetSeedId()
	for _, stage := range []leyline.SeedLifecycleStage{stageGerminated, stageTraining, stageBlending, stageShadowing} {
		if decision := tr.report(1, measuredSeed(id, stage, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("%s: %v", stage, operations(decision))
		}
	}
	tr.report(1, measuredSeed(id, stageProbationary, 0.1))
	command := only(t, tr.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if command.GetTargetSeedId() != id || command.GetSeedOperation().GetBlueprintId() != "BP002" {
		t.Errorf("command %v", command)
	}
	for range 2 { // one outstanding command per seed
		if decision := tr.report(1, measuredSeed(id, stageProbationary, 0.1)); len(decision.Commands) > 0 {
			t.Fatalf("asked again: %v", operations(decision))
		}
	}
	again := only(t, tr.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if again.GetCommandId() == command.GetCommandId() {
		t.Error("asked again under the id that the host has used up")
	}
	decision := tr.report(0.9, measuredSeed(id, stageFossilized, 0.1))
	if len(decision.Reports) != 1 {
		t.Fatalf("%d reports", len(decision.Reports))
	}
	report := decision.Reports[0]
	if report.GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS ||
		report.GetCommandId() != germinate.GetCommandId() || report.GetBlueprintId() != "BP002" ||
		report.GetObservationWindowEpochs() != tr.epoch-5 || report.GetTamiyoPolicyVersion() != DefaultPolicyVersion {
		t.Errorf("report %v", report)
	}
	if got := report.GetMetrics(); got["loss_delta"] > -0.09 || got["accuracy_delta"] < 0.09 {
		t.Errorf("metrics %v", got)
	}
	if decision := tr.report(0.9, measuredSeed(id, stageFossilized, 0.1)); len(decision.Reports) > 0 {
		t.Error("reported twice")
	}
}

func TestRegressingSeedIsCulledAndItsBlueprintNotTriedAgain(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	tr.report(1, measuredSeed(id, stageShadowing, -0.1))
	only(t, tr.report(1, measuredSeed(id, stageProbationary, -0.1)), "SEED_OP_CULL")
	decision := tr.report(1, seedState(id, stageEmbargoed))
	if len(decision.Reports) != 1 ||
		decision.Reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_REGRESSION {
		t.Fatalf("reports %v", decision.Reports)
	}
	if got := tr.stall().GetSeedOperation().GetBlueprintId(); got != "BP003" {
		t.Errorf("next blueprint %s, want BP003", got)
	}
}

func TestStuckSeedIsCulled(t *testing.T) {
	tr := newTrainer(t, Config{MaxAgeEpochs: 10})
	id := tr.stall().GetTargetSeedId()
	for range 9 {
		if decision := tr.report(1, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", tr.epoch, operations(decision))
		}
	}
	only(t, tr.report(1, seedState(id, stageTraining)), "SEED_OP_CULL")
	decision := tr.report(1) // gone at once
	if len(decision.Reports) != 1 || decision.Reports[0].GetNotes() != causeAge ||
		decision.Reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_NEUTRAL {
		t.Fatalf("reports %v", decision.Reports)
	}
}

func TestGerminationWithoutEffectIsRepeatedThenGivenUp(t *testing.T) {
	tr := newTrainer(t, Config{})
	command := tr.stall()
	issued := map[string]uint32{command.GetCommandId(): tr.epoch}
	var reports []*leyline.FieldReport
	for len(reports) == 0 && tr.epoch < 40 {
		decision := tr.report(1)
		for _, again := range decision.Commands {
			if again.GetTargetSeedId() == command.GetTargetSeedId() {
				issued[again.GetCommandId()] = tr.epoch
			}
		}
		reports = decision.Reports
	}
	if len(issued) != 3 || len(reports) != 1 ||
		reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED {
		t.Fatalf("issued %v, reports %v", issued, reports)
	}
	if got := tr.stall().GetSeedOperation().GetBlueprintId(); got != "BP003" {
		t.Errorf("next blueprint %s, want BP003", got)
	}
}

func TestSeedRefusedAtTheGateIsReportedAborted(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	decision := tr.report(1, seedState(id, stageCulled))
	if len(decision.Reports) != 1 ||
		decision.Reports[0].GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_ABORTED {
		t.Fatalf("reports %v", decision.Reports)
	}
}

func TestDormantSlotIsNotTheSeedAskedFor(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	for range 2 {
		decision := tr.report(1, seedState(id, stageDormant))
		if len(decision.Commands)+len(decision.Reports) > 0 {
			t.Fatalf("decided %v %v", operations(decision), decision.Reports)
		}
	}
	only(t, tr.report(1, seedState(id, stageDormant)), "SEED_OP_GERMINATE")
}

func TestSeedThatVanishesIsReported(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	tr.report(1, seedState(id, stageTraining))
	if decision := tr.report(1); len(decision.Reports) > 0 {
		t.Fatal("one packet without it is not its end")
	}
	decision := tr.report(1)
	if len(decision.Reports) != 1 || decision.Reports[0].GetNotes() != "removed_by_host" {
		t.Fatalf("reports %v", decision.Reports)
	}
}

func TestTwoSeedsEndingReportUnderDifferentIDs(t *testing.T) {
	tr := newTrainer(t, Config{})
	ids := map[string]bool{}
	for range 3 { // somebody else's seed, its name used again and again
		tr.report(1, seedState("slot-1", stageTraining))
		for _, report := range tr.report(1, seedState("slot-1", stageCulled)).Reports {
			ids[report.GetReportId()] = true
		}
	}
	if len(ids) != 3 {
		t.Errorf("%d report ids for 3 seeds", len(ids))
	}
}

func TestLossSpikeDoesNotEndInTheSamePass(t *testing.T) {
	tr := newTrainer(t, Config{HoldDownEpochs: 3})
	id := tr.stall().GetTargetSeedId()
	tr.report(1, seedState(id, stageTraining))
	spike := tr.report(1.2, seedState(id, stageTraining))
	pause := only(t, spike, "COMMAND_PAUSE")
	if pause.GetTargetSeedId() != id || pause.GetAnnotations()["risk_reason"] != "loss_spike" {
		t.Errorf("pause %v", pause)
	}
	want := []string{"loss_spike", "conservative_entered", "command_issued"}
	if diff := cmp.Diff(want, events(spike)); diff != "" {
		t.Error(diff)
	}
	if health := spike.Packets[0].GetSystemHealth(); health.GetSummary() != "loss_spike" ||
		health.GetStatus() != healthDegraded || health.GetIndicators()["mode"] != "1" ||
		health.GetIndicators()["priority"] != "MESSAGE_PRIORITY_HIGH" {
		t.Errorf("health %v", health)
	}
	for range 2 {
		if decision := tr.report(1.2, seedState(id, stageTraining)); len(decision.Commands) > 0 {
			t.Fatalf("in the hold-down: %v", operations(decision))
		}
	}
	resume := only(t, tr.report(1.2, seedState(id, stageTraining)), "COMMAND_PAUSE")
	if resume.GetAnnotations()["resume"] != "true" {
		t.Errorf("not a resume: %v", resume)
	}
}

func TestNoGrowthWhileConservative(t *testing.T) {
	tr := newTrainer(t, Config{HoldDownEpochs: 100})
	tr.report(1)
	tr.report(2)
	for range 20 {
		if decision := tr.report(2); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: %v", tr.epoch, operations(decision))
		}
	}
}

func TestLossThatIsNotANumberIsASpikeAndIsForgotten(t *testing.T) {
	tr := newTrainer(t, Config{})
	tr.report(1)
	for _, loss := range []float64{math.NaN(), math.Inf(1)} {
		if got := events(tr.report(float32(loss))); !slices.Contains(got, "loss_spike") {
			t.Errorf("loss %v: events %v", loss, got)
		}
	}
	if got := events(tr.report(1)); slices.Contains(got, "loss_spike") {
		t.Error("the loss is back at 1 and still counts as a spike")
	}
}

func TestRedeliveredStateGetsTheSameAnswer(t *testing.T) {
	tr := newTrainer(t, Config{})
	command := tr.stall()
	again := tr.handle(tr.state(1))
	if !again.Repeated || len(again.Commands) != 1 || again.Commands[0].GetCommandId() != command.GetCommandId() {
		t.Fatalf("answer to the redelivery %v", again)
	}
	if diff := cmp.Diff(tr.decisions[len(tr.decisions)-2].Packets, again.Packets, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestLateStateDecidesNothing(t *testing.T) {
	tr := newTrainer(t, Config{})
	tr.report(1)
	late := tr.state(1)
	for range 3 {
		tr.report(1)
	}
	for range 5 {
		if decision := tr.handle(late); len(decision.Commands)+len(decision.Packets) > 0 || !decision.Repeated {
			t.Fatalf("decided %v on a late packet", decision)
		}
	}
}

func TestRunStartedOverIsWatchedFromItsBeginning(t *testing.T) {
	tr := newTrainer(t, Config{})
	first := tr.stall()
	tr.report(1, seedState(first.GetTargetSeedId(), stageTraining))
	tr.epoch = 1
	state := tr.state(1)
	state.TimestampNs = 1e18
	decision := tr.handle(state)
	if decision.Repeated || len(decision.Reports) != 1 || decision.Reports[0].GetNotes() != causeRestarted {
		t.Fatalf("decision %v", decision)
	}
	for range 3 {
		tr.report(1)
	}
	second := only(t, tr.report(1), "SEED_OP_GERMINATE")
	if second.GetSeedOperation().GetBlueprintId() != first.GetSeedOperation().GetBlueprintId() {
		t.Error("the first life's blueprint is held against the second")
	}
}

func TestRestartedControllerKnowsItsSeedsAgain(t *testing.T) {
	tr := newTrainer(t, Config{})
	id := tr.stall().GetTargetSeedId()
	tr.controller = newTestController(t, Config{})
	tr.report(1, measuredSeed(id, stageProbationary, 0.1))
	command := only(t, tr.report(1, measuredSeed(id, stageProbationary, 0.1)), "SEED_OP_FOSSILIZE")
	if got := command.GetSeedOperation().GetBlueprintId(); got != "BP002" {
		t.Errorf("blueprint %q", got)
	}
}

func TestSeedOfUnknownBlueprintIsNotSentCommandsItsHostRefuses(t *testing.T) {
	tr := newTrainer(t, Config{})
	for range 10 {
		decision := tr.report(1, measuredSeed("foreign", stageProbationary, -0.5))
		if len(decision.Commands) > 0 {
			t.Fatalf("commands %v", operations(decision))
		}
	}
}

func TestEachEvaluationIsTold(t *testing.T) {
	tr := newTrainer(t, Config{PolicyVersion: func() string { return "policy-2026-11" }})
	tr.report(1)
	packet := tr.report(0.8).Packets[0]
	if packet.GetPacketId() != "run-1-2" || packet.GetSourceSubsystem() != "tamiyo" {
		t.Errorf("packet %s from %s", packet.GetPacketId(), packet.GetSourceSubsystem())
	}
	metrics := map[string]float64{}
	for _, point := range packet.GetMetrics() {
		metrics[point.GetName()] = point.GetValue()
	}
	if metrics["tamiyo.evaluated_epoch"] != 2 || math.Abs(metrics["tamiyo.loss_delta"]+0.2) > 1e-6 ||
		math.Abs(metrics["tamiyo.validation_loss"]-0.8) > 1e-6 || metrics["tamiyo.conservative_mode"] != 0 {
		t.Errorf("metrics %v", metrics)
	}
	indicators := packet.GetSystemHealth().GetIndicators()
	if indicators["policy"] != "policy-2" || indicators["evaluated_epoch"] != "2" ||
		indicators["priority"] != "MESSAGE_PRIORITY_NORMAL" || packet.GetSystemHealth().GetSummary() != "stable" {
		t.Errorf("health %v", packet.GetSystemHealth())
	}
	state := tr.state(0.8)
	state.CurrentEpoch, state.PacketId = 3, ""
	if got := tr.handle(state).Packets[0].GetPacketId(); len(got) != len("tamiyo-telemetry-")+36 {
		t.Errorf("packet id %q", got)
	}
}

func TestCommandsAreToldToObservers(t *testing.T) {
	tr := newTrainer(t, Config{})
	command := tr.stall()
	packet := tr.decisions[len(tr.decisions)-1].Packets[0]
	told := packet.GetEvents()[0]
	if told.GetDescription() != "command_issued" || told.GetAttributes()["command_id"] != command.GetCommandId() ||
		told.GetAttributes()["operation"] != "SEED_OP_GERMINATE" ||
		told.GetAttributes()["seed_id"] != command.GetTargetSeedId() || told.GetAttributes()["blueprint_id"] != "BP002" {
		t.Errorf("event %v", told)
	}
}

func TestStateWithoutARunIsRefused(t *testing.T) {
	controller := newTestController(t, Config{})
	for _, state := range []*leyline.SystemStatePacket{nil, {}, {TrainingRunId: "  "}} {
		if _, err := controller.HandleState(t.Context(), state); !errors.Is(err, ErrNoTrainingRun) {
			t.Errorf("%v: %v", state, err)
		}
	}
}

func TestControllerNeedsAKeyring(t *testing.T) {
	if _, err := NewController(Config{}); !errors.Is(err, signing.ErrNoSecret) {
		t.Errorf("got %v", err)
	}
}

func TestRunsAreBoundedAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrainer(t, Config{MaxRuns: 3, RunExpiry: time.Hour})
		for i := range 10 {
			tr.run = fmt.Sprint("run-", i)
			tr.report(1)
			time.Sleep(time.Second)
		}
		if got := tr.controller.Runs(); got != 3 {
			t.Errorf("%d runs watched, want 3", got)
		}
		time.Sleep(2 * time.Hour)
		tr.report(1)
		if got := tr.controller.Runs(); got != 1 {
			t.Errorf("%d runs watched after silence, want 1", got)
		}
	})
}

func TestSeedsOfARunAreBounded(t *testing.T) {
	tr := newTrainer(t, Config{MaxSeeds: 5})
	var seeds []*leyline.SeedState
	for i := range 100 {
		seeds = append(seeds, seedState(fmt.Sprint("foreign-", i), stageTraining))
	}
	tr.report(1, seeds...)
	if got := len(tr.controller.runs["run-1"].seeds); got != 5 {
		t.Errorf("%d seeds watched, want 5", got)
	}
}
