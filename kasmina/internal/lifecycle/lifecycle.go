// Package lifecycle is the table of a seed's eleven stages: which may follow which,
// and what a seed may do in each. Kasmina's core moves seeds by it.
package lifecycle

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// Stages by short names.
const (
	Unknown      = leyline.SeedLifecycleStage_SEED_STAGE_UNKNOWN
	Dormant      = leyline.SeedLifecycleStage_SEED_STAGE_DORMANT
	Germinated   = leyline.SeedLifecycleStage_SEED_STAGE_GERMINATED
	Training     = leyline.SeedLifecycleStage_SEED_STAGE_TRAINING
	Blending     = leyline.SeedLifecycleStage_SEED_STAGE_BLENDING
	Shadowing    = leyline.SeedLifecycleStage_SEED_STAGE_SHADOWING
	Probationary = leyline.SeedLifecycleStage_SEED_STAGE_PROBATIONARY
	Fossilized   = leyline.SeedLifecycleStage_SEED_STAGE_FOSSILIZED
	Culled       = leyline.SeedLifecycleStage_SEED_STAGE_CULLED
	Embargoed    = leyline.SeedLifecycleStage_SEED_STAGE_EMBARGOED
	Resetting    = leyline.SeedLifecycleStage_SEED_STAGE_RESETTING
	Terminated   = leyline.SeedLifecycleStage_SEED_STAGE_TERMINATED
)

// Blends reports whether a seed in this stage contributes to the model's output.
func Blends(stage leyline.SeedLifecycleStage) bool {
	switch stage {
	case Blending, Shadowing, Probationary, Fossilized:
		return true
	default:
		return false
	}
}

// Trains reports whether a seed's parameters may change in this stage.
func Trains(stage leyline.SeedLifecycleStage) bool {
	return stage == Training || stage == Blending
}

// Cullable reports whether a seed in this stage can be culled: it is on its
// way and has not been kept yet.
func Cullable(stage leyline.SeedLifecycleStage) bool {
	switch stage {
	case Germinated, Training, Blending, Shadowing, Probationary:
		return true
	default:
		return false
	}
}

// TransitionError tells of a move that the lifecycle's table does not have.
type TransitionError struct {
	From, To leyline.SeedLifecycleStage
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("illegal seed transition %s to %s", e.From, e.To)
}

// Transition says whether a seed may go from one stage to another: it returns
// nil or a *TransitionError. A new seed is DORMANT.
func Transition(from, to leyline.SeedLifecycleStage) error {
	if !slices.Contains(successors(from), to) {
		return &TransitionError{From: from, To: to}
	}
	return nil
}

// successors is the lifecycle's table: the stages that may follow one.
func successors(stage leyline.SeedLifecycleStage) []leyline.SeedLifecycleStage {
	type list = []leyline.SeedLifecycleStage
	switch stage {
	case Unknown:
		return list{Dormant}
	case Dormant:
		return list{Germinated, Terminated}
	case Germinated:
		return list{Training, Culled}
	case Training:
		return list{Blending, Culled}
	case Blending:
		return list{Shadowing, Culled}
	case Shadowing:
		return list{Probationary, Culled}
	case Probationary:
		return list{Fossilized, Culled}
	case Fossilized:
		return list{Terminated}
	case Culled:
		return list{Embargoed}
	case Embargoed:
		return list{Resetting}
	case Resetting:
		return list{Dormant}
	default:
		return nil
	}
}
