package kasmina

import (
	"fmt"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

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
