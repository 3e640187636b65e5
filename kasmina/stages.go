package kasmina

import "github.com/esper-lite/weatherlight/leyline"

// Short names for the contract's stages, which the tables below read better with.
const (
	stageUnknown      = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	stageDormant      = leyline.SeedLifecycleStage_SEED_STAGE_DORMANT
	stageGerminated   = leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED
	stageTraining     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	stageBlending     = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	stageShadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	stageProbationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	stageFossilized   = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
	stageCulled       = leyline.SeedLifecycleStage_SEED_STAGE_CULLED
	stageEmbargoed    = leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED
	stageResetting    = leyline.SeedLifecycleStage_SEED_STAGE_RESETTING
	stageTerminated   = leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED
)

// blends reports whether a seed in this stage contributes to the model's output.
func blends(stage leyline.SeedLifecycleStage) bool {
	switch stage {
	case stageBlending, stageShadowing, stageProbationary, stageFossilized:
		return true
	default:
		return false
	}
}

// trains reports whether a seed's parameters may change in this stage.
func trains(stage leyline.SeedLifecycleStage) bool {
	return stage == stageTraining || stage == stageBlending
}

// cullable reports whether a seed in this stage can be culled: it is on its
// way and has not been kept yet.
func cullable(stage leyline.SeedLifecycleStage) bool {
	switch stage {
	case stageGerminated, stageTraining, stageBlending, stageShadowing, stageProbationary:
		return true
	default:
		return false
	}
}
