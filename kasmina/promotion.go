package kasmina

import "github.com/esper-lite/weatherlight/leyline"

// verdict is what a report's evidence means for a seed.
type verdict struct {
	gates []leyline.SeedLifecycleGate // to be passed in order before the move
	to    leyline.SeedLifecycleStage  // unknown: the seed stays
	cull  *GateResult                 // the gate that failed, when the seed must go
}

var staying = verdict{}

func advance(to leyline.SeedLifecycleStage) verdict { return verdict{gates: gatesTo(to), to: to} }

// gatesTo are the gates on the way to a stage.
func gatesTo(to leyline.SeedLifecycleStage) []leyline.SeedLifecycleGate {
	switch to {
	case stageBlending:
		return []leyline.SeedLifecycleGate{gateGradient, gateStability}
	case stageShadowing:
		return []leyline.SeedLifecycleGate{gateInterface}
	default:
		return []leyline.SeedLifecycleGate{gateImpact}
	}
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
// What was not measured in a report does not: the gates ask for it in their time.
func judgeHealth(s gateSubject) verdict {
	last := s.progress.last()
	if last.Faults.known() && last.Faults != 0 {
		return cullFor(failed(gateInterface, reasonForwardFault))
	}
	if !trains(s.stage) {
		return staying
	}
	if norm := last.GradientNorm; norm == broken || norm.known() && float64(norm) > s.maxGradient {
		return cullFor(evaluateGate(gateGradient, s))
	}
	if last.lossBroken() {
		return cullFor(evaluateGate(gateStability, s))
	}
	return staying
}

// judgeTraining lets a seed go on once it has converged: its loss has levelled
// out below the host's, or its time is up and the gates decide.
func judgeTraining(s gateSubject) verdict {
	if s.progress.Residence < s.promotion.MinTraining {
		return staying
	}
	if s.progress.Residence >= s.promotion.TrainEpochs {
		return advance(stageBlending)
	}
	last := s.progress.last()
	levelled := s.progress.SinceBest >= s.promotion.Plateau && last.beatsHost()
	measured := last.GradientNorm.finite() && (last.HostGradient.known() || !s.gradientTold)
	if levelled && measured {
		return advance(stageBlending)
	}
	return staying
}

func judgeBlending(s gateSubject, ramped bool) verdict {
	if ramped {
		return advance(stageShadowing)
	}
	if s.progress.Residence >= s.promotion.MaxBlending {
		return cullFor(failed(gateInterface, reasonResidence))
	}
	return staying
}

// judgeImpact serves the two stages in which a seed proves itself in the model.
func judgeImpact(s gateSubject, to leyline.SeedLifecycleStage, least, most int) verdict {
	found := s.progress.impact(s.promotion)
	switch {
	case found == impactRegressed:
		return cullFor(evaluateGate(gateImpact, s))
	case found == impactEarned && s.progress.Residence >= least:
		return advance(to)
	case found == impactUnknown && s.progress.Residence >= most:
		return cullFor(failed(gateImpact, reasonImpactUnknown))
	case found == impactNone && s.progress.Residence >= most:
		return cullFor(failed(gateImpact, reasonResidence))
	default:
		return staying
	}
}
