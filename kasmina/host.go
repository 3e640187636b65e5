package kasmina

import (
	"context"
	"errors"
	"maps"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

// Errors of the graft and of the registry.
var (
	ErrAttached     = errors.New("seed is attached already")
	ErrUnknownSeed  = errors.New("unknown seed")
	ErrForeignValue = errors.New("host value does not belong to the tape")
	ErrEpochBack    = errors.New("epoch lies before the last one observed")
)

// Host is the place where seeds are attached, as the manager sees it. *Graft
// is one. Its methods must not block and must not call the manager.
type Host interface {
	LayerNames() []string
	Slot() []int
	Schedule() AlphaSchedule
	Bind(Observer)
	Attach(seedID string, instance *kernel.Instance, blend BlendConfig) error
	Detach(seedID string)
	SetStage(seedID string, stage leyline.SeedLifecycleStage)
	SetPaused(seedID string, paused bool)
	AlphaSteps(seedID string) int
	Fault(seedID string) string
}

// Observer is told of a seed's evidence once per epoch. *Manager is one.
//
// Evidence names: loss_before and loss_after (validation loss of the host alone
// and with the seed fully in), accuracy_before and accuracy_after (0..1),
// gradient_norm, host_gradient_max, train_loss.
type Observer interface {
	Observe(ctx context.Context, epoch uint32, seedID string, evidence map[string]float32) error
}

// alphaOf is a seed's share in the blend.
func alphaOf(stage leyline.SeedLifecycleStage, schedule AlphaSchedule, steps int) float64 {
	switch {
	case stage == stageBlending:
		return schedule.At(steps)
	case blends(stage):
		return 1
	default:
		return 0
	}
}

// seedState is the part of a seed's state that both halves can tell.
func seedState(
	id string, stage leyline.SeedLifecycleStage, schedule AlphaSchedule, steps int,
) *leyline.SeedState {
	metrics := map[string]float32{
		"alpha":             float32(alphaOf(stage, schedule, steps)),
		"alpha_steps":       float32(steps),
		"alpha_total_steps": float32(schedule.Steps),
		"alpha_temperature": float32(schedule.Temperature),
		"blend_allowed":     0,
	}
	if blends(stage) {
		metrics["blend_allowed"] = 1
	}
	return &leyline.SeedState{SeedId: id, Stage: stage, Metrics: metrics}
}

// withEvidence adds evidence to a state.
func withEvidence(state *leyline.SeedState, evidence map[string]float32) *leyline.SeedState {
	maps.Copy(state.Metrics, evidence)
	state.GradientNorm = evidence[evidenceGradientNorm]
	return state
}
