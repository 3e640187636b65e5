package gate

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
)

// healthy is a subject that passes every gate of its stage.
func healthy(stage leyline.SeedLifecycleStage) Subject {
	last := evidence.Read(map[string]float32{
		"loss_before": 1, "loss_after": 0.5, "accuracy_before": 0.8, "accuracy_after": 0.9,
		"loss_error": 0.01, "accuracy_error": 0.005,
		"gradient_norm": 0.1, "host_gradient_max": 0, "shared_parameters": 0, "train_loss": 1,
	})
	return Subject{
		Stage: stage, Blueprint: "BP001", Parameters: map[string]float32{"alpha": 0.5},
		Attached: stage != lifecycle.Embargoed, Rules: promotion.Default(),
		MaxGradient: 1e3, LatencyMS: 50, MaxSpread: 2,
		HostPresent: true, HostLayers: []string{"weight", "bias"},
		Progress: &evidence.Progress{
			Residence: 3, FirstTrainLoss: 2, BestTrainLoss: 1, BestLoss: 0.5, Last: last,
		},
	}
}

func unearned(p *evidence.Progress) {
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
		spoil  func(*Subject)
		reason string
	}{
		{"G0", Sanity, lifecycle.Dormant, nil, ""},
		{"G0 blank", Sanity, lifecycle.Dormant, func(s *Subject) { s.Blueprint = " " }, "missing blueprint id"},
		{"G0 NaN", Sanity, lifecycle.Dormant, func(s *Subject) { s.Parameters["alpha"] = nan }, "parameter alpha invalid"},
		{"G0 Inf", Sanity, lifecycle.Dormant, func(s *Subject) { s.Parameters["alpha"] = inf }, "parameter alpha invalid"},
		{"G0 flood", Sanity, lifecycle.Dormant, manyParameters, "more than 64 parameters"},
		{"G1", Gradient, lifecycle.Training, nil, ""},
		{"G1 without kernel", Gradient, lifecycle.Germinated, func(s *Subject) { s.Attached = false }, "kernel not attached"},
		{"G1 violation", Gradient, lifecycle.Blending, func(s *Subject) { s.Leaking = true },
			"gradient isolation violations present"},
		{"G1 not finite", Gradient, lifecycle.Training, gradient(evidence.Broken), "gradient norm not finite"},
		{"G1 not measured", Gradient, lifecycle.Training, gradient(evidence.Unknown()), "gradient norm not finite"},
		{"G1 too large", Gradient, lifecycle.Training, gradient(1001), "gradient norm too large"},
		{"G1 frozen seed has no gradient", Gradient, lifecycle.Shadowing, gradient(evidence.Unknown()), ""},
		{"G2", Stability, lifecycle.Training, nil, ""},
		{"G2 not finite", Stability, lifecycle.Training, func(s *Subject) { s.Progress.Last.LossAfter = evidence.Broken }, "loss not finite"},
		{"G2 not measured", Stability, lifecycle.Training, func(s *Subject) { s.Progress.Last = nil }, "loss not finite"},
		{"G2 not learning", Stability, lifecycle.Training, func(s *Subject) { s.Progress.BestTrainLoss = 2 },
			"training loss not improving"},
		{"G2 no better", Stability, lifecycle.Training, func(s *Subject) { s.Progress.Last.LossAfter = 1 }, "not better than host"},
		{"G2 slow", Stability, lifecycle.Training, func(s *Subject) { s.Progress.Last.ForwardMS = 51 }, "latency budget exceeded"},
		{"G2 fast", Stability, lifecycle.Training, func(s *Subject) { s.Progress.Last.ForwardMS = 50 }, ""},
		{"G2 unsteady", Stability, lifecycle.Blending, func(s *Subject) { s.Progress.Last.ForwardSpread = 2.5 }, "latency unstable"},
		{"G2 unsteady beyond the budget", Stability, lifecycle.Blending, func(s *Subject) {
			s.Progress.Last.ForwardMS, s.Progress.Last.ForwardSpread = 21, 2.5
		}, "latency unstable"},
		{"G2 unsteady within the budget", Stability, lifecycle.Blending, func(s *Subject) {
			s.Progress.Last.ForwardMS, s.Progress.Last.ForwardSpread = 0.1, 20
		}, ""},
		{"G3", Interface, lifecycle.Blending, nil, ""},
		{"G3 no host", Interface, lifecycle.Germinated, func(s *Subject) { s.HostPresent = false }, "host model not registered"},
		{"G3 misfit", Interface, lifecycle.Germinated, func(s *Subject) { s.InterfaceError = "too wide" },
			"interface checks incomplete"},
		{"G4", Impact, lifecycle.Shadowing, nil, ""},
		{"G4 violation", Impact, lifecycle.Shadowing, func(s *Subject) { s.Leaking = true }, "violations recorded"},
		{"G4 not earned", Impact, lifecycle.Shadowing, func(s *Subject) { unearned(s.Progress) }, "impact not earned"},
		{"G5", Reset, lifecycle.Embargoed, nil, ""},
		{"G5 still attached", Reset, lifecycle.Embargoed, func(s *Subject) { s.Attached = true }, "reset state not clean"},
		{"G5 violation", Reset, lifecycle.Embargoed, func(s *Subject) { s.Leaking = true }, "reset state not clean"},
		{"wrong stage", Impact, lifecycle.Training, nil, "stage_mismatch"},
		{"no gate", leyline.SeedLifecycleGate_SEED_GATE_UNKNOWN, lifecycle.Training, nil, "unsupported gate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			subject := healthy(tt.stage)
			if tt.spoil != nil {
				tt.spoil(&subject)
			}
			result := Evaluate(tt.gate, subject)
			if result.Reason != tt.reason || result.Passed != (tt.reason == "") || result.Gate != tt.gate {
				t.Errorf("got %+v, want reason %q", result, tt.reason)
			}
		})
	}
}

func TestWhatOpensAGateIsTold(t *testing.T) {
	t.Parallel()
	for gate, want := range map[leyline.SeedLifecycleGate]struct {
		stage leyline.SeedLifecycleStage
		name  string
	}{
		Gradient:  {lifecycle.Training, "gradient_norm"},
		Stability: {lifecycle.Training, "loss_after"},
		Impact:    {lifecycle.Probationary, "loss_after"},
	} {
		if result := Evaluate(gate, healthy(want.stage)); !result.Passed || !slices.Contains(result.Attributes, want.name) {
			t.Errorf("%+v does not tell %s", result, want.name)
		}
	}
}

func gradient(norm evidence.Figure) func(*Subject) {
	return func(s *Subject) { s.Progress.Last.GradientNorm = norm }
}

func manyParameters(s *Subject) {
	for i := range MaxParameters + 1 {
		s.Parameters["p"+strconv.Itoa(i)] = 1
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const stay = lifecycle.Unknown
	tests := []struct {
		name   string
		stage  leyline.SeedLifecycleStage
		ramped bool
		change func(*evidence.Progress)
		to     leyline.SeedLifecycleStage
		cull   string
	}{
		{"too young", lifecycle.Training, false, func(p *evidence.Progress) { p.Residence = 2; p.SinceBest = 9 }, stay, ""},
		{"still learning", lifecycle.Training, false, func(p *evidence.Progress) { p.SinceBest = 2 }, stay, ""},
		{"levelled out", lifecycle.Training, false, func(p *evidence.Progress) { p.SinceBest = 3 }, lifecycle.Blending, ""},
		{"levelled out above the host waits", lifecycle.Training, false,
			func(p *evidence.Progress) { p.SinceBest = 3; p.Last.LossAfter = 2 }, stay, ""},
		{"levelled out without a gradient waits", lifecycle.Training, false,
			func(p *evidence.Progress) { p.SinceBest = 3; p.Last.GradientNorm = evidence.Unknown() }, stay, ""},
		{"time is up", lifecycle.Training, false, func(p *evidence.Progress) { p.Residence = 12 }, lifecycle.Blending, ""},
		{"gradient exploded", lifecycle.Training, false, func(p *evidence.Progress) { p.Last.GradientNorm = evidence.Broken }, stay,
			"gradient norm not finite"},
		{"loss exploded", lifecycle.Training, false, func(p *evidence.Progress) { p.Last.LossAfter = evidence.Broken }, stay, "loss not finite"},
		{"loss not measured yet", lifecycle.Training, false, func(p *evidence.Progress) { p.Last.LossAfter = evidence.Unknown() }, stay, ""},
		{"fault", lifecycle.Blending, true, func(p *evidence.Progress) { p.Last.Faults = 1 }, stay, "seed_forward_error"},
		{"ramping", lifecycle.Blending, false, nil, stay, ""},
		{"ramped", lifecycle.Blending, true, nil, lifecycle.Shadowing, ""},
		{"ramp does not end", lifecycle.Blending, false, func(p *evidence.Progress) { p.Residence = 60 }, stay, "residence_exceeded"},
		{"shadow too young", lifecycle.Shadowing, true, func(p *evidence.Progress) { p.Residence = 1 }, stay, ""},
		{"shadow earned", lifecycle.Shadowing, true, nil, lifecycle.Probationary, ""},
		{"shadow not earned yet", lifecycle.Shadowing, true, unearned, stay, ""},
		{"shadow never earns", lifecycle.Shadowing, true, func(p *evidence.Progress) { unearned(p); p.Residence = 10 }, stay,
			"residence_exceeded"},
		{"shadow regressed", lifecycle.Shadowing, true, func(p *evidence.Progress) { unearned(p); p.Last.LossAfter = 1.1 }, stay,
			"impact regressed"},
		{"shadow without evidence waits", lifecycle.Shadowing, true, func(p *evidence.Progress) { p.Last = evidence.Read(nil) }, stay, ""},
		{"shadow without evidence for long", lifecycle.Shadowing, true,
			func(p *evidence.Progress) { p.Last = evidence.Read(nil); p.Residence = 10 }, stay, "residence_exceeded"},
		{"gain within an unknown noise", lifecycle.Shadowing, true, withoutError, stay, ""},
		{"gain within an unknown noise for long", lifecycle.Shadowing, true,
			func(p *evidence.Progress) { withoutError(p); p.Residence = 10 }, stay, "impact_unknown"},
		{"probation earned", lifecycle.Probationary, true, func(p *evidence.Progress) { p.Residence = 50 }, lifecycle.Fossilized, ""},
		{"probation never earns", lifecycle.Probationary, true, func(p *evidence.Progress) { unearned(p); p.Residence = 10 }, stay,
			"residence_exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			subject := healthy(tt.stage)
			if tt.change != nil {
				tt.change(subject.Progress)
			}
			v := Judge(subject, tt.ramped)
			culled := ""
			if v.Cull != nil {
				culled = v.Cull.Reason
			}
			if v.To != tt.to || culled != tt.cull {
				t.Errorf("to %s, cull %q; want %s, %q", v.To, culled, tt.to, tt.cull)
			}
		})
	}
}

func withoutError(p *evidence.Progress) {
	p.Last.LossError, p.Last.AccuracyError = evidence.Unknown(), evidence.Unknown()
}

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
			p := evidence.NewProgress()
			for _, metrics := range tt.reports {
				e := evidence.Read(metrics)
				p.Note(e, 0.01)
				p.NoteGains(e)
			}
			if got := weigh(&p, promotion.Default().Over(promotion.Rules{Sigma: tt.sigma})); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestScenario11_MissingMeshLayerIsNamed(t *testing.T) {
	t.Parallel()
	subject := healthy(lifecycle.Germinated)
	subject.RequiredLayers, subject.HostLayers = []string{"layer2", "layer1"}, []string{"layer1"}
	result := Evaluate(Interface, subject)
	want := []string{"missing_layers", "layer2", "required_layers", "layer1,layer2", "available_layers", "layer1"}
	if result.Reason != "mesh_incomplete" || !slices.Equal(result.Attributes, want) {
		t.Errorf("got %+v", result)
	}
}

// There is no fallback kernel any more: what asks for one is refused before
// anything exists (21). What G4 looks at instead is the seed's impact.
func TestScenario12_ImpactGateNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	subject := healthy(lifecycle.Shadowing)
	unearned(subject.Progress)
	if result := Evaluate(Impact, subject); result.Passed || result.Reason != "impact not earned" {
		t.Errorf("got %+v", result)
	}
}

func TestPageShowsWhereEachGateIsLookedAt(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/architecture.md")
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
		lifecycle.Dormant: {Sanity}, lifecycle.Germinated: {Interface}, lifecycle.Embargoed: {Reset},
	}
	for from := lifecycle.Training; from < lifecycle.Fossilized; from++ {
		ways[from] = To(from + 1)
	}
	for from, gates := range ways {
		var names []string
		for _, gate := range gates {
			if !slices.Contains(stages(gate), from) {
				t.Errorf("%s has no meaning in %s", gate, from)
			}
			_, row, _ := strings.Cut(string(page), "\n| "+short(gate)+" ")
			row, _, _ = strings.Cut(row, "\n")
			if from != lifecycle.Dormant && !strings.Contains(row, "in "+name(from)) {
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
