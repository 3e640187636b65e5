// Package gate decides whether a seed may go on. A Subject is what is known of one;
// Evaluate looks at a single gate, G0 to G5, and Judge says what a report means for the
// seed: that it stays, goes on through gates, or is culled. Both are pure functions,
// called by Kasmina's core.
package gate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/kasmina/internal/evidence"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/kasmina/promotion"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/trainer"
)

// Result is the outcome of one gate for one seed.
type Result struct {
	Gate       leyline.SeedLifecycleGate
	Passed     bool
	Reason     string   // empty when passed
	Attributes []string // names and texts, in pairs
}

// Gates by short names.
const (
	Sanity    = leyline.SeedLifecycleGate_SEED_GATE_G0_SANITY
	Gradient  = leyline.SeedLifecycleGate_SEED_GATE_G1_GRADIENT_HEALTH
	Stability = leyline.SeedLifecycleGate_SEED_GATE_G2_STABILITY
	Interface = leyline.SeedLifecycleGate_SEED_GATE_G3_INTERFACE
	Impact    = leyline.SeedLifecycleGate_SEED_GATE_G4_SYSTEM_IMPACT
	Reset     = leyline.SeedLifecycleGate_SEED_GATE_G5_RESET
)

const (
	// MaxParameters bounds the parameters of a seed.
	MaxParameters = 64

	maxNameBytes = 128
)

// Reasons of failed gates. StageMismatch is also that of a seed that is where it was
// not ordered to be.
const (
	StageMismatch  = "stage_mismatch"
	MeshIncomplete = "mesh_incomplete"

	residenceExceeded = "residence_exceeded"
	impactUnmeasured  = "impact_unknown"
	forwardFault      = "seed_forward_error"
)

// stages are the stages in which a gate has a meaning. The stage compared
// is the seed's actual one, never one that was reported at some time.
func stages(gate leyline.SeedLifecycleGate) []leyline.SeedLifecycleStage {
	type list = []leyline.SeedLifecycleStage
	switch gate {
	case Sanity:
		return list{lifecycle.Dormant}
	case Gradient, Interface:
		return list{lifecycle.Germinated, lifecycle.Training, lifecycle.Blending, lifecycle.Shadowing, lifecycle.Probationary}
	case Stability:
		return list{lifecycle.Training, lifecycle.Blending}
	case Impact:
		return list{lifecycle.Shadowing, lifecycle.Probationary}
	case Reset:
		return list{lifecycle.Embargoed}
	default:
		return nil
	}
}

// Subject is what the gates look at.
type Subject struct {
	Stage      leyline.SeedLifecycleStage
	Blueprint  string
	Parameters map[string]float32
	Attached   bool
	Leaking    bool // the last report showed a violation
	Violations int
	Progress   *evidence.Progress
	Rules      promotion.Rules

	GradientTold bool    // the trainer has told of a host gradient before
	MaxGradient  float64 // norm over the seed's parameters
	LatencyMS    float64 // bound of a forward pass
	MaxSpread    float64 // bound of its standard deviation over its mean

	HostPresent    bool
	HostLayers     []string
	RequiredLayers []string // empty: all of the host's
	InterfaceError string   // why the kernel does not fit the host
}

// Evaluate runs one gate. A gate outside its stages fails with
// stage_mismatch, one that does not exist with "unsupported gate".
func Evaluate(gate leyline.SeedLifecycleGate, s Subject) Result {
	stages := stages(gate)
	if stages == nil {
		return Failed(gate, "unsupported gate")
	}
	if !slices.Contains(stages, s.Stage) {
		return Failed(gate, StageMismatch, "expected_stage", stages[0].String(), "stage", s.Stage.String())
	}
	switch gate {
	case Sanity:
		return checkSanity(s)
	case Gradient:
		return checkGradient(s)
	case Stability:
		return checkStability(s)
	case Interface:
		return checkInterface(s)
	case Impact:
		return checkImpact(s)
	default:
		return checkReset(s)
	}
}

func checkSanity(s Subject) Result {
	if strings.TrimSpace(s.Blueprint) == "" {
		return Failed(Sanity, "missing blueprint id")
	}
	if len(s.Parameters) > MaxParameters {
		return Failed(Sanity, fmt.Sprintf("more than %d parameters", MaxParameters))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parameters)) {
		value := float64(s.Parameters[name])
		if math.IsNaN(value) || math.IsInf(value, 0) || name == "" || len(name) > maxNameBytes {
			return Failed(Sanity, fmt.Sprintf("parameter %.64s invalid", name))
		}
	}
	return passed(Sanity)
}

// checkGradient asks for evidence of gradients only where parameters train. A
// host gradient that was never told of is no proof of isolation, and the result
// says so; one that is told of at times must be told of now.
func checkGradient(s Subject) Result {
	if !s.Attached {
		return Failed(Gradient, "kernel not attached")
	}
	if s.Leaking {
		return Failed(Gradient, "gradient isolation violations present", "violations", strconv.Itoa(s.Violations))
	}
	if !lifecycle.Trains(s.Stage) {
		return passed(Gradient)
	}
	last := s.Progress.Latest()
	switch {
	case !last.GradientNorm.Finite():
		return Failed(Gradient, "gradient norm not finite")
	case float64(last.GradientNorm) > s.MaxGradient:
		return Failed(Gradient, "gradient norm too large", trainer.MetricGradientNorm, last.GradientNorm.String())
	case last.HostGradient.Known():
		return passed(Gradient, trainer.MetricGradientNorm, last.GradientNorm.String())
	case s.GradientTold:
		return Failed(Gradient, "host gradient not reported")
	default:
		return passed(Gradient, "host_gradient", "unknown")
	}
}

// unsteady says that the time of a forward pass spreads too far, and beyond the
// budget: a machine that does something else for a moment makes any short pass
// look unsteady.
func (s *Subject) unsteady(last *evidence.Figures) bool {
	if !last.ForwardSpread.Known() || float64(last.ForwardSpread) <= s.MaxSpread {
		return false
	}
	return !(float64(last.ForwardSpread*last.ForwardMS) <= s.LatencyMS) // also when the time itself is not told
}

func checkStability(s Subject) Result {
	last := s.Progress.Latest()
	switch {
	case !last.LossesFinite():
		return Failed(Stability, "loss not finite", losses(last)...)
	case last.ForwardMS.Known() && !(float64(last.ForwardMS) <= s.LatencyMS):
		return Failed(Stability, "latency budget exceeded",
			"latency_ms", hundredths(last.ForwardMS.Value()), "budget_ms", hundredths(s.LatencyMS))
	case s.unsteady(last):
		return Failed(Stability, "latency unstable",
			trainer.MetricForwardSpread, hundredths(last.ForwardSpread.Value()), "bound", hundredths(s.MaxSpread))
	case s.Stage != lifecycle.Training:
		return passed(Stability)
	case !s.Progress.Learns():
		return Failed(Stability, "training loss not improving",
			"first", s.Progress.FirstTrainLoss.String(), "best", s.Progress.BestTrainLoss.String())
	case !last.BeatsHost():
		return Failed(Stability, "not better than host", losses(last)...)
	default:
		return passed(Stability, losses(last)...)
	}
}

func checkInterface(s Subject) Result {
	if !s.HostPresent {
		return Failed(Interface, "host model not registered")
	}
	if s.InterfaceError != "" {
		return Failed(Interface, "interface checks incomplete", "error", s.InterfaceError)
	}
	if missing := missingLayers(s.RequiredLayers, s.HostLayers); len(missing) > 0 {
		return Failed(Interface, MeshIncomplete,
			"missing_layers", joinSorted(missing),
			"required_layers", joinSorted(s.RequiredLayers),
			"available_layers", joinSorted(s.HostLayers))
	}
	return passed(Interface)
}

func checkImpact(s Subject) Result {
	attributes := losses(s.Progress.Latest())
	if s.Leaking {
		return Failed(Impact, "violations recorded", "violations", strconv.Itoa(s.Violations))
	}
	switch weigh(s.Progress, s.Rules) {
	case impactEarned:
		return passed(Impact, attributes...)
	case impactRegressed:
		return Failed(Impact, "impact regressed", attributes...)
	case impactUnknown:
		return Failed(Impact, impactUnmeasured, attributes...)
	default:
		return Failed(Impact, "impact not earned", attributes...)
	}
}

// checkReset looks before anything is cleared.
func checkReset(s Subject) Result {
	if s.Attached || s.Leaking {
		return Failed(Reset, "reset state not clean",
			"attached", strconv.FormatBool(s.Attached), "violations", strconv.Itoa(s.Violations))
	}
	return passed(Reset)
}

func passed(gate leyline.SeedLifecycleGate, attributes ...string) Result {
	return Result{Gate: gate, Passed: true, Attributes: attributes}
}

// Failed is the result of a gate that was found not to be passed.
func Failed(gate leyline.SeedLifecycleGate, reason string, attributes ...string) Result {
	return Result{Gate: gate, Reason: reason, Attributes: attributes}
}

func losses(e *evidence.Figures) []string {
	attributes := []string{trainer.MetricLossBefore, e.LossBefore.String(), trainer.MetricLossAfter, e.LossAfter.String()}
	if e.LossError.Known() {
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
