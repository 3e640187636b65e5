package tolaria

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/esper-lite/weatherlight/leyline"
)

// statePacketVersion is the version of the state packets that we send.
const statePacketVersion = 1

// observe measures each seed on the validation set and hands the evidence to
// the manager, which decides on the seed's next stage before this returns.
func (t *Trainer) observe(ctx context.Context, epoch int, seeds []*leyline.SeedState, trainLoss float64) error {
	if len(seeds) == 0 {
		return nil
	}
	alone, err := t.evaluate(t.data.Validation, t.hostOutput)
	if err != nil {
		return fmt.Errorf("measure host: %w", err)
	}
	for _, seed := range seeds {
		full, err := t.evaluate(t.data.Validation, t.isolatedOutput(seed.GetSeedId()))
		if err != nil {
			return fmt.Errorf("measure seed %s: %w", seed.GetSeedId(), err)
		}
		evidence := map[string]float32{
			"loss_before":       float32(alone.loss),
			"loss_after":        float32(full.loss),
			"accuracy_before":   float32(alone.accuracy),
			"accuracy_after":    float32(full.accuracy),
			"gradient_norm":     seed.GetGradientNorm(),
			"host_gradient_max": float32(t.result.HostGradientMax),
			"train_loss":        float32(trainLoss),
		}
		if err := t.config.Graft.Observe(ctx, uint32(epoch), seed.GetSeedId(), evidence); err != nil {
			return fmt.Errorf("report evidence of seed %s: %w", seed.GetSeedId(), err)
		}
		t.latestEvidence[seed.GetSeedId()] = evidence
	}
	return nil
}

// report publishes the epoch and lets the controller settle. Only a cancelled
// context stops the run: training goes on without a bus.
func (t *Trainer) report(ctx context.Context, epoch Epoch) error {
	packet := t.statePacket(epoch)
	if t.config.Bus != nil {
		if err := t.config.Bus.PublishState(ctx, packet); err != nil {
			t.config.Logger.Warn("state packet not published", "epoch", epoch.Number, "error", err)
			return ctx.Err()
		}
	}
	if t.config.Settle == nil {
		return nil
	}
	if err := t.config.Settle(ctx, packet); err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return nil
}

func (t *Trainer) statePacket(epoch Epoch) *leyline.SystemStatePacket {
	return &leyline.SystemStatePacket{
		Version:            statePacketVersion,
		CurrentEpoch:       uint32(epoch.Number),
		ValidationAccuracy: float32(epoch.Accuracy),
		ValidationLoss:     float32(epoch.Loss),
		TimestampNs:        uint64(time.Now().UnixNano()),
		HardwareContext:    &leyline.HardwareContext{DeviceType: "cpu", DeviceId: "cpu:0"},
		TrainingMetrics: map[string]float32{
			"epoch_ms":      float32(epoch.Took.Seconds() * 1e3),
			"host_accuracy": float32(epoch.HostAccuracy),
		},
		SeedStates:      t.seedStates(epoch.Seeds),
		PacketId:        "tolaria-state-" + uuid.NewString(),
		GlobalStep:      t.globalStep,
		TrainingLoss:    float32(epoch.TrainLoss),
		SourceSubsystem: "tolaria",
		TrainingRunId:   t.config.RunID,
		ExperimentName:  t.config.Experiment,
	}
}

// seedStates adds each seed's evidence to its exported state.
func (t *Trainer) seedStates(seeds []*leyline.SeedState) []*leyline.SeedState {
	for _, seed := range seeds {
		evidence := t.latestEvidence[seed.GetSeedId()]
		if evidence == nil {
			continue
		}
		if seed.Metrics == nil {
			seed.Metrics = make(map[string]float32, len(evidence))
		}
		maps.Copy(seed.Metrics, evidence)
		seed.GradientNorm = evidence["gradient_norm"]
		seed.LearningRate = float32(t.config.SeedRate)
		seed.LayerDepth = 1
	}
	return seeds
}
