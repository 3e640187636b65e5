package kasmina

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

// healthy is a subject that passes every gate of its stage.
func healthy(stage leyline.SeedLifecycleStage) gateSubject {
	last := readEvidence(goodEvidence())
	return gateSubject{
		stage: stage, blueprintID: "BP001", parameters: map[string]float32{"alpha": 0.5},
		attached: stage != stageEmbargoed, promotion: defaultPromotion,
		maxGradient: 1e3, latencyMS: 50, maxSpread: 2,
		hostPresent: true, hostLayers: []string{"weight", "bias"},
		progress: &progress{
			Residence: 3, FirstTrainLoss: 2, BestTrainLoss: 1, BestLoss: 0.5, Last: last,
		},
	}
}

func unearned(p *progress) {
	last := *p.Last
	last.LossAfter, last.AccuracyAfter = last.LossBefore, last.AccuracyBefore
	p.Last = &last
}

func TestGates(t *testing.T) {
	t.Parallel()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	tests := []struct {
		name   string
		gate   leyline.SeedLifecycleGate
		stage  leyline.SeedLifecycleStage
		spoil  func(*gateSubject)
		reason string
	}{
		{"G0", gateSanity, stageDormant, nil, ""},
		{"G0 blank", gateSanity, stageDormant, func(s *gateSubject) { s.blueprintID = " " }, "missing blueprint id"},
		{"G0 NaN", gateSanity, stageDormant, func(s *gateSubject) { s.parameters["alpha"] = nan }, "parameter alpha invalid"},
		{"G0 Inf", gateSanity, stageDormant, func(s *gateSubject) { s.parameters["alpha"] = inf }, "parameter alpha invalid"},
		{"G0 flood", gateSanity, stageDormant, manyParameters, "more than 64 parameters"},
		{"G1", gateGradient, stageTraining, nil, ""},
		{"G1 without kernel", gateGradient, stageGerminated, func(s *gateSubject) { s.attached = false }, "kernel not attached"},
		{"G1 violation", gateGradient, stageBlending, func(s *gateSubject) { s.leaking = true },
			"gradient isolation violations present"},
		{"G1 not finite", gateGradient, stageTraining, gradient(broken), "gradient norm not finite"},
		{"G1 not measured", gateGradient, stageTraining, gradient(unknown()), "gradient norm not finite"},
		{"G1 too large", gateGradient, stageTraining, gradient(1001), "gradient norm too large"},
		{"G1 frozen seed has no gradient", gateGradient, stageShadowing, gradient(unknown()), ""},
		{"G2", gateStability, stageTraining, nil, ""},
		{"G2 not finite", gateStability, stageTraining, func(s *gateSubject) { s.progress.Last.LossAfter = broken }, "loss not finite"},
		{"G2 not measured", gateStability, stageTraining, func(s *gateSubject) { s.progress.Last = nil }, "loss not finite"},
		{"G2 not learning", gateStability, stageTraining, func(s *gateSubject) { s.progress.BestTrainLoss = 2 },
			"training loss not improving"},
		{"G2 no better", gateStability, stageTraining, func(s *gateSubject) { s.progress.Last.LossAfter = 1 }, "not better than host"},
		{"G2 slow", gateStability, stageTraining, func(s *gateSubject) { s.progress.Last.ForwardMS = 51 }, "latency budget exceeded"},
		{"G2 fast", gateStability, stageTraining, func(s *gateSubject) { s.progress.Last.ForwardMS = 50 }, ""},
		{"G2 unsteady", gateStability, stageBlending, func(s *gateSubject) { s.progress.Last.ForwardSpread = 2.5 }, "latency unstable"},
		{"G2 unsteady beyond the budget", gateStability, stageBlending, func(s *gateSubject) {
			s.progress.Last.ForwardMS, s.progress.Last.ForwardSpread = 21, 2.5
		}, "latency unstable"},
		{"G2 unsteady within the budget", gateStability, stageBlending, func(s *gateSubject) {
			s.progress.Last.ForwardMS, s.progress.Last.ForwardSpread = 0.1, 20
		}, ""},
		{"G3", gateInterface, stageBlending, nil, ""},
		{"G3 no host", gateInterface, stageGerminated, func(s *gateSubject) { s.hostPresent = false }, "host model not registered"},
		{"G3 misfit", gateInterface, stageGerminated, func(s *gateSubject) { s.interfaceError = "too wide" },
			"interface checks incomplete"},
		{"G4", gateImpact, stageShadowing, nil, ""},
		{"G4 violation", gateImpact, stageShadowing, func(s *gateSubject) { s.leaking = true }, "violations recorded"},
		{"G4 not earned", gateImpact, stageShadowing, func(s *gateSubject) { unearned(s.progress) }, "impact not earned"},
		{"G5", gateReset, stageEmbargoed, nil, ""},
		{"G5 still attached", gateReset, stageEmbargoed, func(s *gateSubject) { s.attached = true }, "reset state not clean"},
		{"G5 violation", gateReset, stageEmbargoed, func(s *gateSubject) { s.leaking = true }, "reset state not clean"},
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

func gradient(norm figure) func(*gateSubject) {
	return func(s *gateSubject) { s.progress.Last.GradientNorm = norm }
}

func manyParameters(s *gateSubject) {
	for i := range maxParameters + 1 {
		s.parameters["p"+strconv.Itoa(i)] = 1
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
		{"too young", stageTraining, false, func(p *progress) { p.Residence = 2; p.SinceBest = 9 }, stay, ""},
		{"still learning", stageTraining, false, func(p *progress) { p.SinceBest = 2 }, stay, ""},
		{"levelled out", stageTraining, false, func(p *progress) { p.SinceBest = 3 }, stageBlending, ""},
		{"levelled out above the host waits", stageTraining, false,
			func(p *progress) { p.SinceBest = 3; p.Last.LossAfter = 2 }, stay, ""},
		{"levelled out without a gradient waits", stageTraining, false,
			func(p *progress) { p.SinceBest = 3; p.Last.GradientNorm = unknown() }, stay, ""},
		{"time is up", stageTraining, false, func(p *progress) { p.Residence = 12 }, stageBlending, ""},
		{"gradient exploded", stageTraining, false, func(p *progress) { p.Last.GradientNorm = broken }, stay,
			"gradient norm not finite"},
		{"loss exploded", stageTraining, false, func(p *progress) { p.Last.LossAfter = broken }, stay, "loss not finite"},
		{"loss not measured yet", stageTraining, false, func(p *progress) { p.Last.LossAfter = unknown() }, stay, ""},
		{"fault", stageBlending, true, func(p *progress) { p.Last.Faults = 1 }, stay, "seed_forward_error"},
		{"ramping", stageBlending, false, nil, stay, ""},
		{"ramped", stageBlending, true, nil, stageShadowing, ""},
		{"ramp does not end", stageBlending, false, func(p *progress) { p.Residence = 60 }, stay, "residence_exceeded"},
		{"shadow too young", stageShadowing, true, func(p *progress) { p.Residence = 1 }, stay, ""},
		{"shadow earned", stageShadowing, true, nil, stageProbationary, ""},
		{"shadow not earned yet", stageShadowing, true, unearned, stay, ""},
		{"shadow never earns", stageShadowing, true, func(p *progress) { unearned(p); p.Residence = 10 }, stay,
			"residence_exceeded"},
		{"shadow regressed", stageShadowing, true, func(p *progress) { unearned(p); p.Last.LossAfter = 1.1 }, stay,
			"impact regressed"},
		{"shadow without evidence waits", stageShadowing, true, func(p *progress) { p.Last = nothing() }, stay, ""},
		{"shadow without evidence for long", stageShadowing, true,
			func(p *progress) { p.Last = nothing(); p.Residence = 10 }, stay, "residence_exceeded"},
		{"gain within an unknown noise", stageShadowing, true, withoutError, stay, ""},
		{"gain within an unknown noise for long", stageShadowing, true,
			func(p *progress) { withoutError(p); p.Residence = 10 }, stay, "impact_unknown"},
		{"probation earned", stageProbationary, true, func(p *progress) { p.Residence = 50 }, stageFossilized, ""},
		{"probation never earns", stageProbationary, true, func(p *progress) { unearned(p); p.Residence = 10 }, stay,
			"residence_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			subject := healthy(tt.stage)
			if tt.change != nil {
				tt.change(subject.progress)
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

func withoutError(p *progress) { p.Last.LossError, p.Last.AccuracyError = unknown(), unknown() }

func TestImpactIsLargerThanItsNoise(t *testing.T) {
	t.Parallel()
	type told map[string]float32
	tests := []struct {
		name    string
		reports []told
		sigma   float64
		want    impact
	}{
		{"clear of the reported error", []told{{"loss_before": 1, "loss_after": 0.9, "loss_error": 0.05}}, 1, impactEarned},
		{"within the reported error", []told{{"loss_before": 1, "loss_after": 0.9, "loss_error": 0.2}}, 1, impactNone},
		{"within two of them", []told{{"loss_before": 1, "loss_after": 0.9, "loss_error": 0.06}}, 2, impactNone},
		{"noise not looked at", []told{{"loss_before": 1, "loss_after": 0.9}}, -1, impactEarned},
		{"too small a gain", []told{{"loss_before": 1, "loss_after": 0.995, "loss_error": 0.0001}}, 1, impactNone},
		{"gain of negative losses", []told{{"loss_before": -1, "loss_after": -1.1, "loss_error": 0.01}}, 1, impactEarned},
		{"one figure", []told{{"loss_before": 1, "loss_after": 0.5}}, 1, impactUnknown},
		{"the same figure twice", []told{{"loss_before": 1, "loss_after": 0.5}, {"loss_before": 1, "loss_after": 0.5}}, 1,
			impactUnknown},
		{"two figures that agree", []told{{"loss_before": 1, "loss_after": 0.5}, {"loss_before": 1, "loss_after": 0.51}}, 1,
			impactEarned},
		{"two figures that do not", []told{{"loss_before": 1, "loss_after": 1.9}, {"loss_before": 1, "loss_after": 0.5}}, 1,
			impactNone},
		{"accuracy instead", []told{{"loss_before": 1, "loss_after": 1, "loss_error": 0.01,
			"accuracy_before": 0.8, "accuracy_after": 0.81, "accuracy_error": 0.005}}, 1, impactEarned},
		{"worse", []told{{"loss_before": 1, "loss_after": 1.03, "loss_error": 0.01}}, 1, impactRegressed},
		{"a little worse", []told{{"loss_before": 1, "loss_after": 1.01, "loss_error": 0.01}}, 1, impactNone},
		{"broken", []told{{"loss_before": 1, "loss_after": float32(math.NaN())}}, 1, impactRegressed},
		{"nothing told", []told{{}}, 1, impactNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProgress()
			for _, metrics := range tt.reports {
				e := readEvidence(metrics)
				p.note(e, 0.01)
				p.noteGains(e)
			}
			if got := p.impact(defaultPromotion.over(Promotion{Sigma: tt.sigma})); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPlateauCountsReportsWithoutABetterLoss(t *testing.T) {
	t.Parallel()
	p := newProgress()
	for _, loss := range []figure{1, 0.8, 0.795, 0.799, 0.793} {
		e := nothing()
		e.LossAfter, e.TrainLoss = loss, loss
		p.note(e, 0.01)
	}
	if p.Residence != 5 || p.SinceBest != 3 || p.BestLoss != 0.8 || !p.learns() {
		t.Errorf("progress %+v", p)
	}
}

func openedBreaker() breaker {
	var b breaker
	for range breakerThreshold {
		b.fail(momentOf(noon))
	}
	return b
}

func TestBreakerCountsOnlyFailuresInARow(t *testing.T) {
	t.Parallel()
	var b breaker
	now := momentOf(noon)
	for range 3 {
		b.fail(now)
		b.fail(now)
		b.succeed()
	}
	if !b.allow(now) {
		t.Fatal("a success between failures was not counted")
	}
}

func TestHalfOpenBreakerLetsAnotherProbeThroughWhenOneIsAbandoned(t *testing.T) {
	t.Parallel()
	b := openedBreaker()
	later := momentOf(noon).plus(breakerCooldown)
	b.allow(later)
	b.abandon()
	if !b.allow(later) {
		t.Error("an abandoned probe blocks for ever")
	}
	b.fail(later)
	if b.allow(later.plus(breakerCooldown) - 1) {
		t.Error("still half open after a failure")
	}
}

func TestPageShowsWhereEachGateIsLookedAt(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	name := func(stage leyline.SeedLifecycleStage) string {
		return strings.TrimPrefix(stage.String(), "SEED_STAGE_")
	}
	short := func(gate leyline.SeedLifecycleGate) string {
		return strings.TrimPrefix(gate.String(), "SEED_GATE_")[:2]
	}
	// The gates of the first two ways and of the last are looked at where a seed is
	// made, gets its kernel and is reset.
	ways := map[leyline.SeedLifecycleStage][]leyline.SeedLifecycleGate{
		stageDormant: {gateSanity}, stageGerminated: {gateInterface}, stageEmbargoed: {gateReset},
	}
	for from := stageTraining; from < stageFossilized; from++ {
		ways[from] = gatesTo(from + 1)
	}
	for from, gates := range ways {
		var names []string
		for _, gate := range gates {
			if !slices.Contains(gateStages(gate), from) {
				t.Errorf("%s has no meaning in %s", gate, from)
			}
			_, row, _ := strings.Cut(string(page), "\n| "+short(gate)+" ")
			row, _, _ = strings.Cut(row, "\n")
			if from != stageDormant && !strings.Contains(row, "in "+name(from)) {
				t.Errorf("the row of %s does not say that it is looked at in %s: %q", gate, from, row)
			}
			names = append(names, short(gate))
		}
		way := name(from) + " ──" + strings.Join(names, ",") + "──> " + name(from+1)
		if !strings.Contains(string(page), way) {
			t.Errorf("the picture does not show %q", way)
		}
	}
}
