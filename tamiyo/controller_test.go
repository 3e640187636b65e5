package tamiyo

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestTrainerThatOnlyReportsIsNeverCommanded(t *testing.T) {
	t.Parallel()
	r := newWatchedRun(t, Config{})
	said := 0
	for range 60 {
		decision := r.report(1, measuredSeed("seed-run-1-5-BP002", stageProbationary, -0.5))
		if len(decision.Commands)+len(decision.Reports) > 0 || len(decision.Packets) != 1 {
			t.Fatalf("epoch %d: %v, %v", r.epoch, operations(decision), decision.Reports)
		}
		for _, name := range events(decision) {
			if name != "trainer_only_reports" {
				t.Fatalf("event %s", name)
			}
			said++
		}
	}
	if said != 1 {
		t.Errorf("told %d times that it only reports", said)
	}
	if len(r.record.Seeds)+len(r.record.Slots) > 0 {
		t.Errorf("record %+v", r.record)
	}
}

func TestRiskOfAWatchedRunIsTold(t *testing.T) {
	t.Parallel()
	r := newWatchedRun(t, Config{})
	r.report(1, seedState("seed-1", stageTraining))
	spike := r.report(1.5, seedState("seed-1", stageTraining))
	if diff := cmp.Diff([]string{"loss_spike", "conservative_entered", "decision_explained"}, events(spike)); diff != "" {
		t.Error(diff)
	}
	if len(spike.Commands) > 0 {
		t.Errorf("commands %v", operations(spike))
	}
}

func TestSeedCommandsCarryWhatKasminaInsistsOn(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.report(1)
	for range 3 {
		if decision := r.report(0.995); len(decision.Commands) > 0 {
			t.Fatalf("epoch %d: a seed before patience ran out", r.epoch)
		}
	}
	command := only(t, r.report(0.995), "SEED_OP_GERMINATE")
	id := command.GetTargetSeedId()
	if !strings.HasPrefix(id, "seed-run-1-5-") || !strings.HasSuffix(id, "-BP002") ||
		command.GetSeedOperation().GetBlueprintId() != "BP002" || len(command.GetSeedOperation().GetParameters()) > 0 {
		t.Errorf("seed %s of %v", id, command.GetSeedOperation())
	}
	if command.GetVersion() != 1 || command.GetIssuedBy() != "tamiyo" || command.GetExecutionDeadlineMs() != 60_000 ||
		!command.GetIssuedAt().AsTime().Equal(r.now) {
		t.Errorf("command %v", command)
	}
	want := map[string]string{
		"training_run_id": "run-1", "slot": "layer1", "mesh_host_layers": `["fc1","fc2"]`, "risk_reason": causeStall,
		"policy_version": DefaultPolicyVersion, "evaluated_epoch": "5", "stalled_epochs": "4", "loss_delta": "0.000000",
		"blueprint_name": "name of BP002", "blueprint_parameter_count": "100",
		"blueprint_risk": "0.25", "blueprint_stage": "0", "blueprint_tier": "BLUEPRINT_TIER_SAFE",
		"selected_blueprint": "BP002", "selected_seed": id, "blueprint_worth": "0.438",
		"considered": "BP002 at layer1: 0.438; BP003 at layer1: 0.219; BP001 at layer1: not for want of parameters",
	}
	if diff := cmp.Diff(want, command.GetAnnotations()); diff != "" {
		t.Error(diff)
	}
}

func TestGerminationsCarryTheRulesOfTheirRun(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rules func(run string) map[string]string
		want  string // promotion_min_training
	}{
		"none":          {nil, ""},
		"of this run":   {rulesOf("run-1"), "20"},
		"of another":    {rulesOf("run-2"), ""},
		"none of a run": {func(string) map[string]string { return nil }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			annotations := newRun(t, Config{Rules: tt.rules}).stall().GetAnnotations()
			if got := annotations["promotion_min_training"]; got != tt.want {
				t.Errorf("promotion_min_training is %q, want %q", got, tt.want)
			}
			for name, want := range map[string]string{"slot": "layer1", "selected_blueprint": "BP002"} {
				if annotations[name] != want {
					t.Errorf("%s is %q, want %q: the rules are not to change it", name, annotations[name], want)
				}
			}
		})
	}
}

// rulesOf are rules for a single run, with names among them that are the controller's.
func rulesOf(run string) func(string) map[string]string {
	return func(asked string) map[string]string {
		if asked != run {
			return nil
		}
		return map[string]string{"promotion_min_training": "20", "slot": "other", "selected_blueprint": "other"}
	}
}

func TestOnlyGerminationsCarryRules(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{Rules: rulesOf("run-1")})
	id := r.stall().GetTargetSeedId()
	r.report(1, seedState(id, stageTraining))
	pause := only(t, r.report(2, seedState(id, stageTraining)), "COMMAND_PAUSE")
	if got, set := pause.GetAnnotations()["promotion_min_training"]; set {
		t.Errorf("a pause carries promotion_min_training %q", got)
	}
}

func TestRunsThatAreLeftAlone(t *testing.T) {
	t.Parallel()
	tests := map[string]func(r *run, i int) Decision{
		"one that improves": func(r *run, i int) Decision {
			return r.report(float32(math.Pow(0.98, float64(i))))
		},
		"reports between validations": func(r *run, i int) Decision {
			if i == 0 {
				return r.report(1)
			}
			r.epoch++
			r.next.Number++
			state := r.last()
			state.Packet.ValidationLoss, state.Packet.ValidationAccuracy = 0, 0
			return r.decide(state)
		},
		"one that was halted": func(r *run, _ int) Decision {
			r.epoch++
			r.next.Number++
			state := r.last()
			state.Packet.TrainingMetrics = map[string]float32{"halted": 1}
			return r.decide(state)
		},
		"one without slots": func(r *run, _ int) Decision {
			r.next.Slots = nil
			return r.report(1)
		},
		"one without host layers": func(r *run, _ int) Decision {
			r.next.HostLayers = nil
			return r.report(1)
		},
	}
	for name, report := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t, Config{})
			for i := range 30 {
				if decision := report(r, i); len(decision.Commands) > 0 {
					t.Fatalf("report %d: %v", i, operations(decision))
				}
			}
		})
	}
}

func TestEachEvaluationIsTold(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{Policies: decidedBy(&judge{version: "policy-2026-11"}, nil)})
	r.report(1)
	packet := r.report(0.8).Packets[0]
	if packet.GetPacketId() != "run-1-2" || packet.GetSourceSubsystem() != "tamiyo" ||
		!packet.GetTimestamp().AsTime().Equal(r.now) {
		t.Errorf("packet %s from %s at %v", packet.GetPacketId(), packet.GetSourceSubsystem(), packet.GetTimestamp())
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
}

func TestCommandsAreToldToObservers(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	command := r.stall()
	told := r.decisions[len(r.decisions)-1].Packets[0].GetEvents()[0]
	want := map[string]string{
		"command_id": command.GetCommandId(), "operation": "SEED_OP_GERMINATE", "seed_id": command.GetTargetSeedId(),
		"slot": "layer1", "blueprint_id": "BP002", "training_run_id": "run-1", "risk_reason": causeStall,
	}
	if diff := cmp.Diff(want, told.GetAttributes()); diff != "" || told.GetDescription() != "command_issued" {
		t.Errorf("event %s: %s", told.GetDescription(), diff)
	}
}

func TestStatesThatBelongToNoRunChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRun(t, Config{})
	r.report(1)
	packet := packetOf(2, 1)
	tests := map[string]State{
		"no packet":            {},
		"no run":               {Packet: &leyline.SystemStatePacket{}},
		"a blank run":          {Packet: &leyline.SystemStatePacket{TrainingRunId: " \t"}},
		"a run of 1,000 bytes": {Packet: &leyline.SystemStatePacket{TrainingRunId: strings.Repeat("r", 1000)}},
		"another run":          {Packet: &leyline.SystemStatePacket{TrainingRunId: "run-2"}},
		"a nameless trainer":   {Packet: packet, Grows: true, Number: 2},
		"an uncounted report":  {Packet: packet, Grows: true, TrainerID: "process-1"},
		"a report too many":    {Packet: packet, Grows: true, TrainerID: "process-1", Number: 1<<53 + 1},
	}
	for name, state := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decision := r.controller.Decide(r.record, state, r.now, r.candidates)
			if diff := cmp.Diff(Decision{}, decision, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
