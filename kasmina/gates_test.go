package kasmina

import (
	"math"
	"slices"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// healthy is a subject that passes every gate of its stage.
func healthy(stage leyline.SeedLifecycleStage) gateSubject {
	return gateSubject{
		stage: stage, blueprintID: "BP001", parameters: map[string]float32{"alpha": 0.5},
		attached: stage != stageResetting, promotion: Promotion{}.withDefaults(),
		hostPresent: true, hostLayers: []string{"weight", "bias"},
		progress: progress{
			residence: 3, firstTrainLoss: 2, bestTrainLoss: 1, bestLoss: 0.5,
			last: readEvidence(goodEvidence()),
		},
	}
}

func goodEvidence() map[string]float32 {
	return map[string]float32{
		"loss_before": 1, "loss_after": 0.5, "accuracy_before": 0.8, "accuracy_after": 0.9,
		"gradient_norm": 0.1, "host_gradient_max": 0, "train_loss": 1,
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	tests := []struct {
		name   string
		gate   leyline.SeedLifecycleGate
		stage  leyline.SeedLifecycleStage
		spoil  func(*gateSubject)
		reason string
	}{
		{"G0", gateSanity, stageDormant, nil, ""},
		{"G0 blank", gateSanity, stageDormant, func(s *gateSubject) { s.blueprintID = " " }, "missing blueprint id"},
		{"G0 NaN", gateSanity, stageDormant,
			func(s *gateSubject) { s.parameters["alpha"] = float32(nan) }, "parameter alpha invalid"},
		{"G1", gateGradient, stageTraining, nil, ""},
		{"G1 without kernel", gateGradient, stageGerminated,
			func(s *gateSubject) { s.attached = false }, "kernel not attached"},
		{"G1 violations", gateGradient, stageBlending,
			func(s *gateSubject) { s.violations = 2 }, "gradient isolation violations present"},
		{"G1 not finite", gateGradient, stageTraining,
			func(s *gateSubject) { s.progress.last.gradientNorm = nan }, "gradient norm not finite"},
		{"G1 frozen seed has no gradient", gateGradient, stageShadowing,
			func(s *gateSubject) { s.progress.last.gradientNorm = nan }, ""},
		{"G2", gateStability, stageTraining, nil, ""},
		{"G2 not finite", gateStability, stageTraining,
			func(s *gateSubject) { s.progress.last.lossAfter = nan }, "loss not finite"},
		{"G2 not learning", gateStability, stageTraining,
			func(s *gateSubject) { s.progress.bestTrainLoss = 2 }, "training loss not improving"},
		{"G2 no better", gateStability, stageTraining,
			func(s *gateSubject) { s.progress.last.lossAfter = 1 }, "not better than host"},
		{"G3", gateInterface, stageBlending, nil, ""},
		{"G3 no host", gateInterface, stageGerminated,
			func(s *gateSubject) { s.hostPresent = false }, "host model not registered"},
		{"G3 misfit", gateInterface, stageGerminated,
			func(s *gateSubject) { s.interfaceError = "too wide" }, "interface checks incomplete"},
		{"G3 mesh", gateInterface, stageGerminated,
			func(s *gateSubject) { s.requiredLayers = []string{"weight", "head"} }, "mesh_incomplete"},
		{"G4", gateImpact, stageShadowing, nil, ""},
		{"G4 by accuracy", gateImpact, stageProbationary,
			func(s *gateSubject) { s.progress.last.lossAfter = 1 }, ""},
		{"G4 violations", gateImpact, stageShadowing,
			func(s *gateSubject) { s.violations = 1 }, "violations recorded"},
		{"G4 regressed", gateImpact, stageShadowing, func(s *gateSubject) {
			s.progress.last.lossAfter, s.progress.last.accuracyAfter = 1.5, 0.8
		}, "impact regressed"},
		{"G4 not earned", gateImpact, stageShadowing, func(s *gateSubject) {
			s.progress.last.lossAfter, s.progress.last.accuracyAfter = 1, 0.8
		}, "impact not earned"},
		{"G5", gateReset, stageResetting, nil, ""},
		{"G5 attached", gateReset, stageResetting, func(s *gateSubject) { s.attached = true }, "reset state not clean"},
		{"G5 violations", gateReset, stageResetting, func(s *gateSubject) { s.violations = 1 }, "reset state not clean"},
		{"wrong stage", gateImpact, stageTraining, nil, "stage_mismatch"},
		{"no gate", leyline.SeedLifecycleGate_SEED_GATE_UNKNOWN, stageTraining, nil, "unsupported gate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			subject := healthy(tt.stage)
			if tt.spoil != nil {
				tt.spoil(&subject)
			}
			result := evaluateGate(tt.gate, subject)
			if result.Reason != tt.reason || result.Passed != (tt.reason == "") || result.Gate != tt.gate {
				t.Errorf("got %+v, want reason %q", result, tt.reason)
			}
		})
	}
}

func TestMeshGateNamesTheLayers(t *testing.T) {
	t.Parallel()
	subject := healthy(stageGerminated)
	subject.requiredLayers, subject.hostLayers = []string{"layer2", "layer1"}, []string{"layer1"}
	result := evaluateGate(gateInterface, subject)
	want := []string{"missing_layers", "layer2", "required_layers", "layer1,layer2", "available_layers", "layer1"}
	if !slices.Equal(result.Attributes, want) {
		t.Errorf("attributes %q", result.Attributes)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const stay = stageUnknown
	tests := []struct {
		name   string
		stage  leyline.SeedLifecycleStage
		ramped bool
		change func(*progress)
		to     leyline.SeedLifecycleStage
		cull   string
	}{
		{"too young", stageTraining, false, func(p *progress) { p.residence = 2; p.sinceBest = 9 }, stay, ""},
		{"still learning", stageTraining, false, func(p *progress) { p.sinceBest = 2 }, stay, ""},
		{"levelled out", stageTraining, false, func(p *progress) { p.sinceBest = 3 }, stageBlending, ""},
		{"levelled out above the host waits", stageTraining, false,
			func(p *progress) { p.sinceBest = 3; p.last.lossAfter = 2 }, stay, ""},
		{"time is up", stageTraining, false, func(p *progress) { p.residence = 12 }, stageBlending, ""},
		{"leak", stageTraining, false, func(p *progress) { p.last.gradientNorm = math.Inf(1) }, stay,
			"gradient norm not finite"},
		{"loss exploded", stageTraining, false, func(p *progress) { p.last.lossAfter = math.Inf(1) }, stay,
			"loss not finite"},
		{"fault", stageBlending, true, func(p *progress) { p.last.forwardFaults = 1 }, stay, "seed_forward_error"},
		{"ramping", stageBlending, false, nil, stay, ""},
		{"ramped", stageBlending, true, nil, stageShadowing, ""},
		{"ramp does not end", stageBlending, false, func(p *progress) { p.residence = 60 }, stay, "residence_exceeded"},
		{"shadow too young", stageShadowing, true, func(p *progress) { p.residence = 1 }, stay, ""},
		{"shadow earned", stageShadowing, true, nil, stageProbationary, ""},
		{"shadow not earned yet", stageShadowing, true, unearned, stay, ""},
		{"shadow never earns", stageShadowing, true, func(p *progress) { unearned(p); p.residence = 10 }, stay,
			"residence_exceeded"},
		{"shadow regressed", stageShadowing, true, func(p *progress) { unearned(p); p.last.lossAfter = 1.1 }, stay,
			"impact regressed"},
		{"shadow without evidence", stageShadowing, true,
			func(p *progress) { p.last = readEvidence(nil); p.residence = 1 }, stay, "impact regressed"},
		{"probation earned", stageProbationary, true, func(p *progress) { p.residence = 50 }, stageFossilized, ""},
		{"probation never earns", stageProbationary, true, func(p *progress) { unearned(p); p.residence = 10 }, stay,
			"residence_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			subject := healthy(tt.stage)
			if tt.change != nil {
				tt.change(&subject.progress)
			}
			v := judge(subject, tt.ramped)
			culled := ""
			if v.cull != nil {
				culled = v.cull.Reason
			}
			if v.to != tt.to || culled != tt.cull {
				t.Errorf("to %s, cull %q; want %s, %q", v.to, culled, tt.to, tt.cull)
			}
		})
	}
}

func unearned(p *progress) {
	p.last.lossAfter, p.last.accuracyAfter = p.last.lossBefore, p.last.accuracyBefore
}

func TestPlateauCountsEpochsWithoutABetterLoss(t *testing.T) {
	t.Parallel()
	var p progress
	for _, loss := range []float64{1, 0.8, 0.795, 0.799, 0.793} {
		p.note(evidence{lossAfter: loss, trainLoss: loss}, 0.01)
	}
	if p.residence != 5 || p.sinceBest != 3 || p.bestLoss != 0.8 || !p.learns() {
		t.Errorf("progress %+v", p)
	}
}
