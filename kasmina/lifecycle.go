package kasmina

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// Lifecycle is the stage of one seed. It moves only along the lifecycle's
// table and refuses every other move.
type Lifecycle struct {
	stage leyline.SeedLifecycleStage
}

// TransitionError tells of a move that the lifecycle's table does not have.
type TransitionError struct {
	From, To leyline.SeedLifecycleStage
}

func (e *TransitionError) Error() string {
	return fmt.Sprintf("illegal seed transition %s to %s", e.From, e.To)
}

// NewLifecycle starts a lifecycle in DORMANT.
func NewLifecycle() Lifecycle {
	return Lifecycle{stage: stageDormant}
}

// Stage is the present stage.
func (l *Lifecycle) Stage() leyline.SeedLifecycleStage {
	return l.stage
}

// To moves to next, or returns a *TransitionError and stays.
func (l *Lifecycle) To(next leyline.SeedLifecycleStage) error {
	if !slices.Contains(successors(l.stage), next) {
		return &TransitionError{From: l.stage, To: next}
	}
	l.stage = next
	return nil
}

// successors is the lifecycle's table: the stages that may follow one.
func successors(stage leyline.SeedLifecycleStage) []leyline.SeedLifecycleStage {
	type list = []leyline.SeedLifecycleStage
	switch stage {
	case stageUnknown:
		return list{stageDormant}
	case stageDormant:
		return list{stageGerminated, stageTerminated}
	case stageGerminated:
		return list{stageTraining, stageCulled}
	case stageTraining:
		return list{stageBlending, stageCulled}
	case stageBlending:
		return list{stageShadowing, stageCulled}
	case stageShadowing:
		return list{stageProbationary, stageCulled}
	case stageProbationary:
		return list{stageFossilized, stageCulled}
	case stageFossilized:
		return list{stageTerminated}
	case stageCulled:
		return list{stageEmbargoed}
	case stageEmbargoed:
		return list{stageResetting}
	case stageResetting:
		return list{stageDormant}
	default:
		return nil
	}
}
