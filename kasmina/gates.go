package kasmina

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
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
		return list{stageResetting}
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
	violations  int
	progress    progress
	promotion   Promotion

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
		return failed(gate, "stage_mismatch", "expected_stage", stages[0].String(), "stage", s.stage.String())
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
	for _, name := range slices.Sorted(maps.Keys(s.parameters)) {
		if math.IsNaN(float64(s.parameters[name])) {
			return failed(gateSanity, fmt.Sprintf("parameter %s invalid", name))
		}
	}
	return passed(gateSanity)
}

// checkGradient asks for evidence of gradients only where parameters train.
func checkGradient(s gateSubject) GateResult {
	if !s.attached {
		return failed(gateGradient, "kernel not attached")
	}
	if s.violations > 0 {
		return failed(gateGradient, "gradient isolation violations present", "violations", strconv.Itoa(s.violations))
	}
	if trains(s.stage) && !finite(s.progress.last.gradientNorm) {
		return failed(gateGradient, "gradient norm not finite")
	}
	return passed(gateGradient)
}

func checkStability(s gateSubject) GateResult {
	last := s.progress.last
	if !last.lossesFinite() {
		return failed(gateStability, "loss not finite", losses(last)...)
	}
	if s.stage != stageTraining {
		return passed(gateStability)
	}
	if !s.progress.learns() {
		return failed(gateStability, "training loss not improving",
			"first", decimal(s.progress.firstTrainLoss), "best", decimal(s.progress.bestTrainLoss))
	}
	if !last.beatsHost() {
		return failed(gateStability, "not better than host", losses(last)...)
	}
	return passed(gateStability)
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
	last := s.progress.last
	switch {
	case s.violations > 0:
		return failed(gateImpact, "violations recorded", "violations", strconv.Itoa(s.violations))
	case last.regresses(s.promotion):
		return failed(gateImpact, "impact regressed", losses(last)...)
	case !last.earns(s.promotion):
		return failed(gateImpact, "impact not earned", losses(last)...)
	default:
		return passed(gateImpact)
	}
}

func checkReset(s gateSubject) GateResult {
	if s.attached || s.violations > 0 {
		return failed(gateReset, "reset state not clean")
	}
	return passed(gateReset)
}

func passed(gate leyline.SeedLifecycleGate) GateResult {
	return GateResult{Gate: gate, Passed: true}
}

func failed(gate leyline.SeedLifecycleGate, reason string, attributes ...string) GateResult {
	return GateResult{Gate: gate, Reason: reason, Attributes: attributes}
}

func losses(e evidence) []string {
	return []string{evidenceLossBefore, decimal(e.lossBefore), evidenceLossAfter, decimal(e.lossAfter)}
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'f', 4, 64) }

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
