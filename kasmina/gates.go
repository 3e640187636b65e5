package kasmina

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// GateResult is the outcome of one gate for one seed.
type GateResult struct {
	Gate       leyline.SeedLifecycleGate
	Passed     bool
	Reason     string   // empty when passed
	Attributes []string // names and texts, in pairs
}

// Gates by short names.
const (
	gateSanity    = leyline.SeedLifecycleGate_SEED_GATE_G0_SANITY
	gateGradient  = leyline.SeedLifecycleGate_SEED_GATE_G1_GRADIENT_HEALTH
	gateStability = leyline.SeedLifecycleGate_SEED_GATE_G2_STABILITY
	gateInterface = leyline.SeedLifecycleGate_SEED_GATE_G3_INTERFACE
	gateImpact    = leyline.SeedLifecycleGate_SEED_GATE_G4_SYSTEM_IMPACT
	gateReset     = leyline.SeedLifecycleGate_SEED_GATE_G5_RESET
)

const maxParameters = 64

// gateStages are the stages in which a gate has a meaning. The stage compared
// is the seed's actual one, never one that was reported at some time.
func gateStages(gate leyline.SeedLifecycleGate) []leyline.SeedLifecycleStage {
	type list = []leyline.SeedLifecycleStage
	switch gate {
	case gateSanity:
		return list{stageDormant}
	case gateGradient, gateInterface:
		return list{stageGerminated, stageTraining, stageBlending, stageShadowing, stageProbationary}
	case gateStability:
		return list{stageTraining, stageBlending}
	case gateImpact:
		return list{stageShadowing, stageProbationary}
	case gateReset:
		return list{stageEmbargoed}
	default:
		return nil
	}
}

// gateSubject is what the gates look at.
type gateSubject struct {
	stage       leyline.SeedLifecycleStage
	blueprintID string
	parameters  map[string]float32
	attached    bool
	leaking     bool // the last report showed a violation
	violations  int
	progress    *progress
	promotion   Promotion

	gradientTold bool // the trainer has told of a host gradient before
	maxGradient  float64
	latencyMS    float64 // bound of a forward pass
	maxSpread    float64

	hostPresent    bool
	hostLayers     []string
	requiredLayers []string // empty: all of the host's
	interfaceError string   // why the kernel does not fit the host
}

// evaluateGate runs one gate. A gate outside its stages fails with
// stage_mismatch, one that does not exist with "unsupported gate".
func evaluateGate(gate leyline.SeedLifecycleGate, s gateSubject) GateResult {
	stages := gateStages(gate)
	if stages == nil {
		return failed(gate, "unsupported gate")
	}
	if !slices.Contains(stages, s.stage) {
		return failed(gate, reasonStageMismatch, "expected_stage", stages[0].String(), "stage", s.stage.String())
	}
	switch gate {
	case gateSanity:
		return checkSanity(s)
	case gateGradient:
		return checkGradient(s)
	case gateStability:
		return checkStability(s)
	case gateInterface:
		return checkInterface(s)
	case gateImpact:
		return checkImpact(s)
	default:
		return checkReset(s)
	}
}

func checkSanity(s gateSubject) GateResult {
	if strings.TrimSpace(s.blueprintID) == "" {
		return failed(gateSanity, "missing blueprint id")
	}
	if len(s.parameters) > maxParameters {
		return failed(gateSanity, fmt.Sprintf("more than %d parameters", maxParameters))
	}
	for _, name := range slices.Sorted(maps.Keys(s.parameters)) {
		value := float64(s.parameters[name])
		if math.IsNaN(value) || math.IsInf(value, 0) || name == "" || len(name) > maxIDLength {
			return failed(gateSanity, fmt.Sprintf("parameter %.64s invalid", name))
		}
	}
	return passed(gateSanity)
}

// checkGradient asks for evidence of gradients only where parameters train. A
// host gradient that was never told of is no proof of isolation, and the result
// says so; one that is told of at times must be told of now.
func checkGradient(s gateSubject) GateResult {
	if !s.attached {
		return failed(gateGradient, "kernel not attached")
	}
	if s.leaking {
		return failed(gateGradient, "gradient isolation violations present", "violations", strconv.Itoa(s.violations))
	}
	if !trains(s.stage) {
		return passed(gateGradient)
	}
	last := s.progress.last()
	switch {
	case !last.GradientNorm.finite():
		return failed(gateGradient, "gradient norm not finite")
	case float64(last.GradientNorm) > s.maxGradient:
		return failed(gateGradient, "gradient norm too large", trainer.MetricGradientNorm, last.GradientNorm.String())
	case last.HostGradient.known():
		return passed(gateGradient)
	case s.gradientTold:
		return failed(gateGradient, "host gradient not reported")
	default:
		return passed(gateGradient, "host_gradient", "unknown")
	}
}

// unsteady says that the time of a forward pass spreads too far, and beyond the
// budget: a machine that does something else for a moment makes any short pass
// look unsteady.
func (s *gateSubject) unsteady(last *evidence) bool {
	if !last.ForwardSpread.known() || float64(last.ForwardSpread) <= s.maxSpread {
		return false
	}
	return !(float64(last.ForwardSpread*last.ForwardMS) <= s.latencyMS) // also when the time itself is not told
}

func checkStability(s gateSubject) GateResult {
	last := s.progress.last()
	switch {
	case !last.lossesFinite():
		return failed(gateStability, "loss not finite", losses(last)...)
	case last.ForwardMS.known() && !(float64(last.ForwardMS) <= s.latencyMS):
		return failed(gateStability, "latency budget exceeded",
			"latency_ms", hundredths(last.ForwardMS.value()), "budget_ms", hundredths(s.latencyMS))
	case s.unsteady(last):
		return failed(gateStability, "latency unstable",
			trainer.MetricForwardSpread, hundredths(last.ForwardSpread.value()), "bound", hundredths(s.maxSpread))
	case s.stage != stageTraining:
		return passed(gateStability)
	case !s.progress.learns():
		return failed(gateStability, "training loss not improving",
			"first", s.progress.FirstTrainLoss.String(), "best", s.progress.BestTrainLoss.String())
	case !last.beatsHost():
		return failed(gateStability, "not better than host", losses(last)...)
	default:
		return passed(gateStability)
	}
}

func checkInterface(s gateSubject) GateResult {
	if !s.hostPresent {
		return failed(gateInterface, "host model not registered")
	}
	if s.interfaceError != "" {
		return failed(gateInterface, "interface checks incomplete", "error", s.interfaceError)
	}
	if missing := missingLayers(s.requiredLayers, s.hostLayers); len(missing) > 0 {
		return failed(gateInterface, reasonMeshIncomplete,
			"missing_layers", joinSorted(missing),
			"required_layers", joinSorted(s.requiredLayers),
			"available_layers", joinSorted(s.hostLayers))
	}
	return passed(gateInterface)
}

func checkImpact(s gateSubject) GateResult {
	attributes := losses(s.progress.last())
	if s.leaking {
		return failed(gateImpact, "violations recorded", "violations", strconv.Itoa(s.violations))
	}
	switch s.progress.impact(s.promotion) {
	case impactEarned:
		return passed(gateImpact)
	case impactRegressed:
		return failed(gateImpact, "impact regressed", attributes...)
	case impactUnknown:
		return failed(gateImpact, reasonImpactUnknown, attributes...)
	default:
		return failed(gateImpact, "impact not earned", attributes...)
	}
}

// checkReset looks before anything is cleared.
func checkReset(s gateSubject) GateResult {
	if s.attached || s.leaking {
		return failed(gateReset, "reset state not clean",
			"attached", strconv.FormatBool(s.attached), "violations", strconv.Itoa(s.violations))
	}
	return passed(gateReset)
}

func passed(gate leyline.SeedLifecycleGate, attributes ...string) GateResult {
	return GateResult{Gate: gate, Passed: true, Attributes: attributes}
}

func failed(gate leyline.SeedLifecycleGate, reason string, attributes ...string) GateResult {
	return GateResult{Gate: gate, Reason: reason, Attributes: attributes}
}

func losses(e *evidence) []string {
	attributes := []string{trainer.MetricLossBefore, e.LossBefore.String(), trainer.MetricLossAfter, e.LossAfter.String()}
	if e.LossError.known() {
		attributes = append(attributes, trainer.MetricLossError, e.LossError.String())
	}
	return attributes
}

func hundredths(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func missingLayers(required, available []string) []string {
	var missing []string
	for _, layer := range required {
		if !slices.Contains(available, layer) {
			missing = append(missing, layer)
		}
	}
	return missing
}

func joinSorted(names []string) string {
	return strings.Join(slices.Sorted(slices.Values(names)), ",")
}
