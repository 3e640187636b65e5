package gate

import (
	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
)

// Verdict is what a report's evidence means for a seed.
type Verdict struct {
	Gates []leyline.SeedLifecycleGate // to be passed in order before the move
	To    leyline.SeedLifecycleStage  // unknown: the seed stays
	Cull  *Result                     // the gate that failed, when the seed must go
}

func advance(to leyline.SeedLifecycleStage) Verdict { return Verdict{Gates: To(to), To: to} }

// To are the gates on the way to a stage.
func To(to leyline.SeedLifecycleStage) []leyline.SeedLifecycleGate {
	switch to {
	case lifecycle.Blending:
		return []leyline.SeedLifecycleGate{Gradient, Stability}
	case lifecycle.Shadowing:
		return []leyline.SeedLifecycleGate{Interface}
	default:
		return []leyline.SeedLifecycleGate{Impact}
	}
}

func cullFor(result Result) Verdict {
	return Verdict{Cull: &result}
}

// Judge decides from the progress within a stage; ramped tells that the share
// has reached the end of its ramp. It is a pure function.
func Judge(s Subject, ramped bool) Verdict {
	if v := judgeHealth(s); v.Cull != nil {
		return v
	}
	switch s.Stage {
	case lifecycle.Training:
		return judgeTraining(s)
	case lifecycle.Blending:
		return judgeBlending(s, ramped)
	case lifecycle.Shadowing:
		return judgeImpact(s, lifecycle.Probationary, s.Rules.MinShadowing, s.Rules.MaxShadowing)
	case lifecycle.Probationary:
		return judgeImpact(s, lifecycle.Fossilized, s.Rules.MinProbation, s.Rules.MaxProbation)
	default:
		return Verdict{}
	}
}

// judgeHealth finds what culls a seed in any stage, however short its residence.
// What was not measured in a report does not: the gates ask for it in their time.
func judgeHealth(s Subject) Verdict {
	last := s.Progress.Latest()
	if last.Faults.Known() && last.Faults != 0 {
		return cullFor(Failed(Interface, forwardFault))
	}
	if !lifecycle.Trains(s.Stage) {
		return Verdict{}
	}
	if norm := last.GradientNorm; norm == evidence.Broken || norm.Known() && float64(norm) > s.MaxGradient {
		return cullFor(Evaluate(Gradient, s))
	}
	if last.LossBroken() {
		return cullFor(Evaluate(Stability, s))
	}
	return Verdict{}
}

// judgeTraining lets a seed go on once it has converged: its loss has levelled
// out below the host's, or its time is up and the gates decide.
func judgeTraining(s Subject) Verdict {
	if s.Progress.Residence < s.Rules.MinTraining {
		return Verdict{}
	}
	if s.Progress.Residence >= s.Rules.TrainEpochs {
		return advance(lifecycle.Blending)
	}
	last := s.Progress.Latest()
	levelled := s.Progress.SinceBest >= s.Rules.Plateau && last.BeatsHost()
	measured := last.GradientNorm.Finite() && (last.HostGradient.Known() || !s.GradientTold)
	if levelled && measured {
		return advance(lifecycle.Blending)
	}
	return Verdict{}
}

func judgeBlending(s Subject, ramped bool) Verdict {
	if ramped {
		return advance(lifecycle.Shadowing)
	}
	if s.Progress.Residence >= s.Rules.MaxBlending {
		return cullFor(Failed(Interface, residenceExceeded))
	}
	return Verdict{}
}

// judgeImpact serves the two stages in which a seed proves itself in the model.
func judgeImpact(s Subject, to leyline.SeedLifecycleStage, least, most int) Verdict {
	found := weigh(s.Progress, s.Rules)
	switch {
	case found == impactRegressed:
		return cullFor(Evaluate(Impact, s))
	case found == impactEarned && s.Progress.Residence >= least:
		return advance(to)
	case found == impactUnknown && s.Progress.Residence >= most:
		return cullFor(Failed(Impact, impactUnmeasured))
	case found == impactNone && s.Progress.Residence >= most:
		return cullFor(Failed(Impact, residenceExceeded))
	default:
		return Verdict{}
	}
}
