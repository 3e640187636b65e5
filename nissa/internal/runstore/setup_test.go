package runstore

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/internal/pgtest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/trainer"
)

// server is one Postgres for all tests, with a schema for each store.
var server *pgtest.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = pgtest.Launch(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// onEachDatabase runs a test on an empty database of each kind.
func onEachDatabase(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:///"+filepath.Join(t.TempDir(), "runs.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, server.NewSchema(t)) })
}

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// begin is a moment that the messages of tests are dated by.
var begin = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

// report is the n-th of a run, with one seed in BLENDING.
func report(run string, n int) runs.Message {
	said := trainer.Report{
		TrainerID: "t-1", Number: uint64(n), Slots: map[string][]int{"layer2": {64}},
		Grafts: map[string]trainer.Graft{"seed-1": {Slot: "layer2", Blueprint: "BP001", Checksum: "abc"}},
	}
	return runs.Message{
		Stream: "oona.normal", Entry: fmt.Sprint(n, "-0"), At: at(n), Attributes: said.Attributes(),
		Payload: &leyline.SystemStatePacket{
			PacketId: fmt.Sprint(run, "-", n), TrainingRunId: run, CurrentEpoch: uint32(n), GlobalStep: uint64(10 * n),
			ValidationLoss: 1 / float32(n+1), ValidationAccuracy: 0.5, TrainingLoss: 0.7, SourceSubsystem: "tolaria",
			TrainingMetrics: map[string]float32{"lr": 0.1, "baseline_loss": 0.9},
			SeedStates: []*leyline.SeedState{{
				SeedId: "seed-1", Stage: leyline.SeedLifecycleStage_SEED_STAGE_BLENDING,
				Metrics: map[string]float32{trainer.MetricAlpha: 0.25, trainer.MetricLossBefore: 0.6},
			}},
		},
	}
}

// seedPacket is what Kasmina says when a seed has come to a stage.
func seedPacket(run, seed, stage string, n int) runs.Message {
	return runs.Message{Stream: "oona.telemetry", Entry: fmt.Sprint(n, "-1"), At: at(n), Payload: &leyline.TelemetryPacket{
		PacketId: fmt.Sprint("kasmina-", run, seed, n), SourceSubsystem: "kasmina", Timestamp: timestamppb.New(at(n)),
		SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{
			"training_run_id": run, "seed_id": seed, "blueprint_id": "BP001"}},
		Events: []*leyline.TelemetryEvent{
			{Description: "seed_stage", Attributes: map[string]string{"seed_id": seed, "stage": "SEED_STAGE_" + stage, "alpha": "0.5"}},
			{Description: "gate_event", Level: leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, Attributes: map[string]string{
				"seed_id": seed, "gate": "SEED_GATE_G4_SYSTEM_IMPACT", "passed": "false", "reason": "impact not earned"}},
		},
	}}
}

// decision is one that a controller recorded.
func decision(run string, n int, transcript string) runs.Message {
	return runs.Message{Stream: "oona.telemetry", Entry: fmt.Sprint(n, "-3"), At: at(n), Payload: &leyline.TelemetryPacket{
		PacketId: fmt.Sprint("recorded-", run, n), SourceSubsystem: "tamiyo", Timestamp: timestamppb.New(at(n)),
		SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"training_run_id": run}},
		Events:       []*leyline.TelemetryEvent{{Description: "decision_recorded", Attributes: map[string]string{"transcript": transcript}}},
	}}
}

// packet is telemetry of a source about no run.
func packet(source string, n int) runs.Message {
	return runs.Message{Stream: "oona.telemetry", Entry: fmt.Sprint(n, "-2"), At: at(n), Payload: &leyline.TelemetryPacket{
		PacketId: fmt.Sprint(source, "-", n), SourceSubsystem: source,
		Metrics: []*leyline.MetricPoint{{Name: "m", Value: float64(n), Attributes: map[string]string{"a": "b"}}},
	}}
}

func put(t *testing.T, s *Store, messages ...runs.Message) []bool {
	t.Helper()
	fresh, err := s.Put(t.Context(), messages)
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}
