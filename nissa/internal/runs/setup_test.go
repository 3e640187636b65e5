package runs

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

var begin = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func at(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

func message(seconds int, payload proto.Message) Message {
	return Message{Stream: "s", Entry: fmt.Sprint(seconds, "-0"), Payload: payload, At: at(seconds)}
}

// tell is what messages come to that nothing was known before.
func tell(messages ...Message) *Batch {
	b := NewBatch(messages)
	b.Apply(messages)
	return b
}

func event(description string, pairs ...string) *leyline.TelemetryEvent {
	e := &leyline.TelemetryEvent{Description: description, Level: leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, Attributes: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		e.Attributes[pairs[i]] = pairs[i+1]
	}
	return e
}

func packetOf(run, seed string, seconds int, events ...*leyline.TelemetryEvent) Message {
	return message(seconds, &leyline.TelemetryPacket{
		SourceSubsystem: "kasmina", PacketId: fmt.Sprint(run, seed, seconds), Timestamp: timestamppb.New(at(seconds)),
		SystemHealth: &leyline.SystemHealth{Indicators: map[string]string{"training_run_id": run, "seed_id": seed, "blueprint_id": "BP7"}},
		Events:       events,
	})
}

func stageOf(stage string) *leyline.TelemetryEvent {
	return event("seed_stage", "seed_id", "s", "stage", "SEED_STAGE_"+stage, "alpha", "0.2500")
}

func reported(run string, seconds int, stage leyline.SeedLifecycleStage, loss float32) Message {
	m := message(seconds, &leyline.SystemStatePacket{
		TrainingRunId: run, PacketId: fmt.Sprint(run, seconds), CurrentEpoch: uint32(seconds), ValidationLoss: loss,
		SeedStates: []*leyline.SeedState{{SeedId: "s", Stage: stage, GradientNorm: 2,
			Metrics: map[string]float32{"alpha": 0.5, "loss_before": 3, "paused": 1}}},
	})
	m.Attributes = trainer.Report{TrainerID: "t", Number: 4, Grafts: map[string]trainer.Graft{
		"s": {Slot: "l2", Blueprint: "BP7", Checksum: "c0ffee"}}}.Attributes()
	return m
}

const blending = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
