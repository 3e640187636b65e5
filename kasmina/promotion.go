package kasmina

import "github.com/esper-lite/weatherlight/leyline"

// verdict is what an epoch's evidence means for a seed.
type verdict struct {
	gates []leyline.SeedLifecycleGate // to be passed in order before the move
	to    leyline.SeedLifecycleStage  // unknown: the seed stays
	cull  *GateResult                 // the gate that failed, when the seed must go
}

var staying = verdict{}

func advance(to leyline.SeedLifecycleStage, gates ...leyline.SeedLifecycleGate) verdict {
	return verdict{gates: gates, to: to}
}

func cullFor(result GateResult) verdict {
	return verdict{cull: &result}
}

// judge decides from the progress within a stage; ramped tells that the share
// has reached the end of its ramp. It is a pure function.
func judge(s gateSubject, ramped bool) verdict {
	if v := judgeHealth(s); v.cull != nil {
		return v
	}
	switch s.stage {
	case stageTraining:
		return judgeTraining(s)
	case stageBlending:
		return judgeBlending(s, ramped)
	case stageShadowing:
		return judgeImpact(s, stageProbationary, s.promotion.MinShadowing, s.promotion.MaxShadowing)
	case stageProbationary:
		return judgeImpact(s, stageFossilized, s.promotion.MinProbation, s.promotion.MaxProbation)
	default:
		return staying
	}
}

// judgeHealth finds what culls a seed in any stage, however short its residence.
func judgeHealth(s gateSubject) verdict {
	if s.progress.last.forwardFaults != 0 {
		return cullFor(failed(gateInterface, reasonForwardFault))
	}
	if result := evaluateGate(gateGradient, s); !result.Passed {
		return cullFor(result)
	}
	if trains(s.stage) && !s.progress.last.lossesFinite() {
		return cullFor(evaluateGate(gateStability, s))
	}
	return staying
}

// judgeTraining lets a seed go on once it has converged: its loss has levelled
// out below the host's, or its time is up and the gates decide.
func judgeTraining(s gateSubject) verdict {
	if s.progress.residence < s.promotion.MinTraining {
		return staying
	}
	levelled := s.progress.sinceBest >= s.promotion.Plateau && s.progress.last.beatsHost()
	if levelled || s.progress.residence >= s.promotion.TrainEpochs {
		return advance(stageBlending, gateGradient, gateStability)
	}
	return staying
}

func judgeBlending(s gateSubject, ramped bool) verdict {
	if ramped {
		return advance(stageShadowing, gateInterface)
	}
	if s.progress.residence >= s.promotion.MaxBlending {
		return cullFor(failed(gateInterface, reasonResidence))
	}
	return staying
}

// judgeImpact serves the two stages in which a seed proves itself in the model.
func judgeImpact(s gateSubject, to leyline.SeedLifecycleStage, least, most int) verdict {
	earned := s.progress.last.earns(s.promotion)
	switch {
	case s.progress.last.regresses(s.promotion):
		return cullFor(evaluateGate(gateImpact, s))
	case earned && s.progress.residence >= least:
		return advance(to, gateImpact)
	case !earned && s.progress.residence >= most:
		return cullFor(failed(gateImpact, reasonResidence))
	default:
		return staying
	}
}
