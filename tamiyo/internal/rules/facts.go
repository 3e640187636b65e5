package rules

import (
	"math"
	"strings"

	"github.com/esper-lite/weatherlight/leyline"
)

// Figure is a number that may not be known.
type Figure struct {
	Value float64
	Known bool
}

// Told is a figure that somebody told; what is no number says nothing.
func Told(value float64) Figure { return Figure{value, !math.IsNaN(value)} }

func flag(set bool) Figure {
	if set {
		return Figure{1, true}
	}
	return Figure{0, true}
}

// Facts are what one pass over a report knows.
type Facts struct {
	Begins   bool // a seed would be begun
	Pausable int  // seeds in the host's forward pass that are not paused

	Policy  Policy
	Mode    Mode
	Loss    Loss
	Overdue bool // the kernel library did not answer within the step

	Metrics    map[string]float32 // the trainer's own
	Hardware   *leyline.HardwareContext
	Blueprints []Blueprint // of the seeds that live, and of those that would be begun
}

// Policy is what the policy that decides says of its own decision.
type Policy struct {
	Risk    Figure // 0..1
	Overdue bool   // it did not answer within the step
	Failed  bool   // it was asked, and has no answer
}

// RiskClass is which of five equal classes a risk of 0 to 1 is of, 0 the lowest. The
// prototype's policies tell one of as many.
func RiskClass(risk float64) int { return min(int(risk*5), 4) }

// Loss is what the report says of the validation loss.
type Loss struct {
	Validated bool   // it has one
	Diverged  bool   // which is no finite number
	Delta     Figure // its change since the last one
}

// Mode is how far the run is held back before this pass.
type Mode struct {
	Conservative bool   // growth is stopped already, by a rule or by command
	Commanded    bool   // by command, which no rule takes back
	Denied       bool   // a breaker is open
	Unrest       string // rule that paused the run last, until it has been calm for long enough
	Calm         uint32 // reports in a row without such a rule
	HoldDown     uint32 // that end it
}

// Blueprint is what is known of a seed's blueprint.
type Blueprint struct {
	ID         string
	Tier       leyline.BlueprintTier
	Risk       float64 // as the catalogue has it
	Quarantine bool
	BSDS       *leyline.BSDS // nil: nobody has judged it
	Begins     bool          // a seed of it would be begun

	Unknown bool   // nothing above but ID and Begins is known
	Untold  string // why the kernel library did not tell of it; empty: it has answered
}

// isUntold says that the library did not tell of it, or knows nothing of one that lives. A seed of
// which it knows nothing may be asked for again, as often as any: there is no kernel for it.
func isUntold(b *Blueprint) bool { return b.Untold != "" || b.Unknown && !b.Begins }

// lives says whether a living seed's blueprint is so.
func (f *Facts) lives(is func(*Blueprint) bool) bool {
	for i := range f.Blueprints {
		if b := &f.Blueprints[i]; !b.Begins && is(b) {
			return true
		}
	}
	return false
}

// EffectiveRisk is the larger of the catalogue's risk and the judged one: a judgement
// never lowers it.
func (b Blueprint) EffectiveRisk() float64 {
	judged := float64(b.BSDS.GetRiskScore())
	if math.IsNaN(judged) || math.IsNaN(b.Risk) {
		return 1
	}
	return max(b.Risk, min(judged, 1))
}

// metric is one of the trainer's training_metrics.
func (f *Facts) metric(name string) Figure {
	value, told := f.Metrics[name]
	if !told {
		return Figure{}
	}
	return Told(float64(value))
}

// Names of training_metrics that rules look at.
const (
	metricHook       = "hook_latency_ms"
	metricStep       = "step_latency_ms"
	metricApply      = "kasmina.apply_ms"
	metricFinalize   = "kasmina.finalize_ms"
	metricIsolation  = "kasmina.isolation.violations"
	metricGPU        = "gpu_util_percent"
	metricGPUFree    = "gpu_mem_free_gb"
	metricCPU        = "cpu_util_percent"
	metricVolatility = "loss_volatility"
	metricVariance   = "grad_var"
	metricConflict   = "grad_conflict_rate"
	metricRate       = "optimizer_lr"
)

// gpu is a figure of the accelerator: as a metric, or else from the hardware context,
// in which a 0 is what nobody told.
func (f *Facts) gpu(name string) Figure {
	device := f.Hardware.GetDeviceType()
	if told := f.metric(name); told.Known || device == "" || strings.EqualFold(device, "cpu") {
		return told
	}
	value, told := f.Hardware.GetUtilizationPercent(), f.Hardware.GetUtilizationPercent() != 0
	if name == metricGPUFree {
		value, told = f.Hardware.GetAvailableMemoryGb(), f.Hardware.GetTotalMemoryGb() > 0
	}
	if !told {
		return Figure{}
	}
	return Told(float64(value))
}
