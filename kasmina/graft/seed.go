package graft

import (
	"slices"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Short names for the contract's stages that a graft knows.
const (
	stageUnknown      = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	stageTraining     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending     = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageShadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	stageProbationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	stageFossilized   = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
)

// Seed is one grafted seed as it is.
type Seed struct {
	ID, Slot, Blueprint string
	Stage               leyline.SeedLifecycleStage
	Share               float64 // in the output, 0 to 1
	Ramping             bool    // it blends, and its ramp is not done
	Paused              bool
	Tuned               bool // it is kept, and its parameters train along
	Size                int  // number of its weights
}

// seed is a grafted seed. It belongs to the training loop.
type seed struct {
	id, blueprint string
	checksum      string // of the kernel as it was attached
	slot          *Slot
	instance      *kernel.Instance
	blend         trainer.Blend
	schedule      trainer.Schedule

	stage         leyline.SeedLifecycleStage
	paused, tuned bool
	steps         int    // of the ramp
	attachOrder   uint64 // that attached it
	order         uint64 // the last one applied
	age           uint32 // reports since it was attached

	before *before
	meters meters
	shares kernel.Tensor // of the blend, kept for its storage
}

// before is what the model was as a seed began to blend.
type before struct {
	moment   uint64
	snapshot any                // the host's
	kept     map[string]Weights // of the seeds that were kept by then
}

func (s *seed) public() Seed {
	ramping := s.stage == stageBlending && !s.paused && !s.schedule.Done(s.steps)
	return Seed{
		ID: s.id, Slot: s.slot.name, Blueprint: s.blueprint, Stage: s.stage,
		Share: s.share(), Ramping: ramping, Paused: s.paused, Tuned: s.tuned, Size: s.size(),
	}
}

func (s *seed) size() int {
	size := 0
	for _, parameter := range s.instance.Parameters() {
		size += parameter.Value.Size()
	}
	return size
}

// share is the seed's in the output now.
func (s *seed) share() float64 {
	switch {
	case s.paused:
		return 0
	case s.stage == stageBlending:
		return s.schedule.At(s.steps)
	case s.stage == stageShadowing, s.stage == stageProbationary, s.kept():
		return 1
	default:
		return 0
	}
}

// kept says that the seed is part of the network: no blend, no detached host.
func (s *seed) kept() bool { return s.stage == stageFossilized }

// learns says that the seed's parameters may change now.
func (s *seed) learns() bool {
	return !s.paused && (s.stage == stageTraining || s.stage == stageBlending || s.kept() && s.tuned)
}

func (s *seed) clearGradients() {
	for _, parameter := range s.instance.Parameters() {
		parameter.ZeroGrad()
	}
}

// weights are what a seed has learnt: parameters and running statistics.
func (s *seed) weights() []*kernel.Parameter {
	parameters := s.instance.Parameters()
	return append(slices.Clip(parameters), s.instance.Statistics()...)
}
