package rules

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	info     = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	warning  = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	critical = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL
)

// The evaluators, in the order in which they are gone through.
const (
	evaluatorPolicy     = "policy risk"
	evaluatorMode       = "conservative mode"
	evaluatorTimeouts   = "timeouts"
	evaluatorBlueprint  = "blueprint risk"
	evaluatorBSDS       = "BSDS"
	evaluatorLoss       = "loss"
	evaluatorLatency    = "latencies"
	evaluatorDevice     = "isolation and device"
	evaluatorOptimizer  = "optimizer hints"
	evaluatorSteadiness = "stabilisation"
	evaluatorRecovery   = "recovery"
)

// rule is a row of the table: it fires when all of its conditions hold.
type rule struct {
	evaluator string
	when      []condition
	event     string
	reason    string // of commands, where it is not the event's name
	level     leyline.TelemetryLevel
	effect    Effect
	over      bool // its reason takes the place of an earlier one

	ofBlueprint bool   // it is asked of each blueprint
	begins      bool   // it fires only where a seed would be begun
	actsOnBegin bool   // elsewhere it fires, and is only told
	unless      string // fired: this rule does not
	recovers    bool
	more        func(*Facts, *Blueprint) []string // what else the event tells
}

func (r *rule) reasonOrEvent() string {
	if r.reason != "" {
		return r.reason
	}
	return r.event
}

// disturbs says whether it pauses runs for what is wrong with them.
func (r *rule) disturbs() bool {
	return r.effect >= Pause && r.evaluator != evaluatorMode && r.evaluator != evaluatorTimeouts
}

type comparison int

const (
	atLeast comparison = iota
	above
	atMost
	below
)

func (c comparison) String() string { return [...]string{"≥", ">", "≤", "<"}[c] }

// condition holds a figure against a bound.
type condition struct {
	figure string
	text   string // what it asks, where that is no comparison
	of     func(*Facts, *Blueprint, *Verdict) Figure
	is     comparison
	bound  float64
}

// of makes a condition on a figure of the run. Trainers tell float32s: one at the bound
// is at the bound.
func of(name string, figure func(*Facts) Figure, is comparison, bound float64) condition {
	return condition{figure: name, is: is, bound: bound, of: func(f *Facts, _ *Blueprint, _ *Verdict) Figure {
		told := figure(f)
		if told.Value == float64(float32(bound)) {
			told.Value = bound
		}
		return told
	}}
}

// metric makes one on a metric of the trainer.
func metric(name string, is comparison, bound float64) condition {
	return of(name, func(f *Facts) Figure { return f.metric(name) }, is, bound)
}

// so makes one on what is or is not.
func so(text string, is func(*Facts) bool) condition {
	return condition{text: text, bound: 1, of: func(f *Facts, _ *Blueprint, _ *Verdict) Figure { return flag(is(f)) }}
}

// blueprintIs makes one on a blueprint.
func blueprintIs(text string, is func(*Blueprint) bool) condition {
	return condition{text: text, bound: 1, of: func(_ *Facts, b *Blueprint, _ *Verdict) Figure {
		if b == nil || b.Unknown {
			return Figure{}
		}
		return flag(is(b))
	}}
}

// untold makes one on a blueprint that the library, which was not late, did not tell of.
func untold(text string, begins bool) condition {
	return condition{text: text, bound: 1, of: func(f *Facts, b *Blueprint, _ *Verdict) Figure {
		return flag(b != nil && isUntold(b) && b.Begins == begins && !f.Overdue)
	}}
}

func riskOfBlueprint(is comparison, bound float64) condition {
	return condition{figure: "risk", is: is, bound: bound, of: func(_ *Facts, b *Blueprint, _ *Verdict) Figure {
		if b == nil || b.Unknown {
			return Figure{}
		}
		return Told(b.EffectiveRisk())
	}}
}

func policyRisk(f *Facts) Figure { return f.Policy.Risk }
func lossDelta(f *Facts) Figure  { return f.Loss.Delta }

func hazard(band leyline.HazardBand) func(*Blueprint) bool {
	return func(b *Blueprint) bool { return b.BSDS.GetHazardBand() == band }
}

func quarantined(b *Blueprint) bool {
	return b.BSDS.GetHandlingClass() == leyline.HandlingClass_HANDLING_CLASS_QUARANTINE
}

// table is gone through from top to bottom.
var table = []rule{
	{
		evaluator: evaluatorPolicy, event: "policy_risk_signal", level: info,
		when: []condition{of("policy_risk_score", policyRisk, atLeast, 0)},
		more: func(f *Facts, _ *Blueprint) []string {
			return []string{"index", strconv.Itoa(RiskClass(f.Policy.Risk.Value))}
		},
	},
	{
		evaluator: evaluatorPolicy, event: "policy_risk_critical", level: critical, effect: Stop, over: true,
		when: []condition{of("policy_risk_score", policyRisk, atLeast, 0.98)},
	},
	{
		evaluator: evaluatorPolicy, event: "policy_risk_elevated", level: warning, effect: Hold, begins: true,
		when: []condition{of("policy_risk_score", policyRisk, atLeast, 0.85)}, unless: "policy_risk_critical",
	},
	{
		evaluator: evaluatorMode, event: "pause_triggered", reason: "conservative_mode", level: warning, effect: Pause,
		when: []condition{so("the run, or the service, is conservative, and a seed would be begun or is in the output",
			func(f *Facts) bool { return f.Mode.Conservative && (f.Begins || f.Pausable > 0) })},
	},
	{
		evaluator: evaluatorTimeouts, event: "timeout_inference", level: critical, effect: Pause,
		when: []condition{so("the policy did not answer within the step", func(f *Facts) bool { return f.Policy.Overdue })},
	},
	{
		evaluator: evaluatorTimeouts, event: "timeout_urza", level: critical, effect: Pause,
		when: []condition{so("the kernel library did not answer within the step", func(f *Facts) bool { return f.Overdue })},
	},
	{
		evaluator: evaluatorBlueprint, event: "bp_quarantine", level: critical, effect: Stop, over: true, ofBlueprint: true,
		when: []condition{blueprintIs("the blueprint is for quarantine only", func(b *Blueprint) bool { return b.Quarantine })},
		more: tierOf,
	},
	{
		evaluator: evaluatorBlueprint, event: "bp_quarantine", level: critical, effect: Stop, over: true, ofBlueprint: true,
		when: []condition{riskOfBlueprint(atLeast, 0.8)}, more: tierOf,
	},
	{
		evaluator: evaluatorBlueprint, event: "blueprint_risk", level: warning, effect: Hold, ofBlueprint: true, begins: true,
		when: []condition{riskOfBlueprint(above, 0.5)}, unless: "bp_quarantine", more: tierOf,
	},
	{
		evaluator: evaluatorBSDS, event: "bsds_present", level: info, ofBlueprint: true,
		when: []condition{blueprintIs("the blueprint was judged", func(b *Blueprint) bool { return b.BSDS != nil })}, more: bsdsOf,
	},
	{
		evaluator: evaluatorBSDS, event: "bsds_handling_quarantine", level: critical, effect: Stop, over: true, ofBlueprint: true,
		when: []condition{blueprintIs("its handling class is QUARANTINE", quarantined)}, more: bsdsOf,
	},
	{
		evaluator: evaluatorBSDS, event: "bsds_hazard_critical", level: critical, effect: Stop, over: true, ofBlueprint: true,
		when: []condition{blueprintIs("its hazard band is CRITICAL", hazard(leyline.HazardBand_HAZARD_BAND_CRITICAL))}, more: bsdsOf,
	},
	{
		evaluator: evaluatorBSDS, event: "bsds_hazard_high", level: warning, effect: Hold, ofBlueprint: true, actsOnBegin: true,
		when: []condition{blueprintIs("its hazard band is HIGH", hazard(leyline.HazardBand_HAZARD_BAND_HIGH))}, more: bsdsOf,
	},
	{
		evaluator: evaluatorLoss, event: lossSpike, level: warning, effect: Stop, over: true,
		when: []condition{so("the validation loss is no finite number", func(f *Facts) bool { return f.Loss.Diverged })},
	},
	{
		evaluator: evaluatorLoss, event: lossSpike, level: warning, effect: Stop, over: true,
		when: []condition{of("loss_delta", lossDelta, above, spike)},
	},
	{
		evaluator: evaluatorLoss, event: "loss_warning", level: warning, effect: Hold, begins: true,
		when: []condition{of("loss_delta", lossDelta, above, spike/2)}, unless: lossSpike,
	},
	{
		evaluator: evaluatorLatency, event: "hook_budget", level: warning, effect: Pause, over: true,
		when: []condition{metric(metricHook, above, 50)},
	},
	{
		evaluator: evaluatorLatency, event: "step_latency_high", level: warning, effect: Pause, over: true,
		when: []condition{metric(metricStep, above, 120)},
	},
	{
		evaluator: evaluatorLatency, event: "kasmina_apply_slow", level: warning, effect: Hold, over: true, actsOnBegin: true,
		when: []condition{metric(metricApply, above, 30)},
	},
	{
		evaluator: evaluatorLatency, event: "kasmina_finalize_slow", level: warning, effect: Hold, over: true, actsOnBegin: true,
		when: []condition{metric(metricFinalize, above, 30)},
	},
	{
		evaluator: evaluatorDevice, event: "isolation_violations", reason: "isolation_violation", level: warning, effect: Pause,
		when: []condition{metric(metricIsolation, above, 0)},
	},
	{
		evaluator: evaluatorDevice, event: "device_pressure_high", level: warning, effect: Pause, actsOnBegin: true,
		when: []condition{
			of(metricGPU, func(f *Facts) Figure { return f.gpu(metricGPU) }, atLeast, 95),
			of(metricGPUFree, func(f *Facts) Figure { return f.gpu(metricGPUFree) }, atMost, 0.2),
		},
	},
	{
		evaluator: evaluatorDevice, event: "cpu_pressure_high", level: warning, effect: Hold, begins: true,
		when: []condition{metric(metricCPU, atLeast, 95)}, unless: "device_pressure_high",
	},
	{
		evaluator: evaluatorOptimizer, event: "loss_volatility_high", level: warning, effect: Hold, actsOnBegin: true,
		when: []condition{metric(metricVolatility, above, 0.75*spike)},
	},
	{
		evaluator: evaluatorOptimizer, event: "grad_variance_high", level: warning, effect: Hold, begins: true,
		when: []condition{metric(metricVariance, above, 1)},
	},
	{
		evaluator: evaluatorOptimizer, event: "grad_conflict_high", level: warning, effect: Hold, begins: true,
		when: []condition{metric(metricConflict, above, 0.5)},
	},
	{
		evaluator: evaluatorOptimizer, event: "optimizer_hint", level: warning, effect: Hold, over: true, actsOnBegin: true,
		when: []condition{metric(metricRate, atMost, 0), of("loss_delta", lossDelta, above, spike/2)},
	},
	{
		evaluator: evaluatorSteadiness, event: "stabilising", level: info, effect: Hold, begins: true,
		when: []condition{{
			text: "a rule paused the run and it has not been calm for the hold-down since", bound: 1,
			of: func(f *Facts, _ *Blueprint, v *Verdict) Figure { return flag(f.Mode.Unrest != "" && !settles(f, v)) },
		}},
	},
	{
		evaluator: evaluatorSteadiness, event: blueprintUntold, level: warning, effect: Freeze, ofBlueprint: true, more: whyUntold,
		when: []condition{
			untold("the kernel library was not late, and did not tell of a living seed's blueprint or knows of no such one", false),
		},
	},
	{
		evaluator: evaluatorSteadiness, event: blueprintUntold, level: warning, effect: Hold, ofBlueprint: true, more: whyUntold,
		when: []condition{untold("it did not tell of the blueprint of a seed that would be asked for again", true)},
	},
	{
		evaluator: evaluatorRecovery, event: "conservative_exited", level: info, recovers: true,
		when: []condition{{
			text: "the run is conservative by a rule, has been calm for the hold-down, and no breaker is open", bound: 1,
			of: func(f *Facts, _ *Blueprint, v *Verdict) Figure {
				return flag(f.Mode.Conservative && !f.Mode.Commanded && !f.Mode.Denied && settles(f, v))
			},
		}},
	},
}

const (
	blueprintUntold = "blueprint_untold"

	lossSpike = "loss_spike"
	spike     = 0.15 // rise of the loss from one validation to the next
)

// settles says whether this pass ends the hold-down.
func settles(f *Facts, v *Verdict) bool {
	return v != nil && v.Calm && f.Mode.Calm+1 >= f.Mode.HoldDown
}

func whyUntold(_ *Facts, b *Blueprint) []string {
	return []string{"why", cmp.Or(b.Untold, "it knows of no such blueprint")}
}

func tierOf(_ *Facts, b *Blueprint) []string {
	return []string{"tier", b.Tier.String()}
}

func bsdsOf(_ *Facts, b *Blueprint) []string {
	hazard, handling, _, provenance := Words(b.BSDS)
	return []string{
		"hazard", hazard, "handling", handling,
		"risk", strconv.FormatFloat(b.EffectiveRisk(), 'f', 2, 64), "provenance", provenance,
	}
}

// Words are what a judgement says, as the prototype's sheets write it.
func Words(b *leyline.BSDS) (hazard, handling, profile, provenance string) {
	return strings.TrimPrefix(b.GetHazardBand().String(), "HAZARD_BAND_"),
		strings.ToLower(strings.TrimPrefix(b.GetHandlingClass().String(), "HANDLING_CLASS_")),
		strings.ToLower(strings.TrimPrefix(b.GetResourceProfile().String(), "RESOURCE_PROFILE_")),
		strings.TrimPrefix(b.GetProvenance().String(), "PROVENANCE_")
}
