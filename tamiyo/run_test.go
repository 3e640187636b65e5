package tamiyo

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/signing"
)

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
