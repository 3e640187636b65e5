package tamiyo

import (
	"math"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/tamiyo/internal/rules"
	"github.com/esper-lite/weatherlight/telemetry"
)

// source is the name this part signs its packets and commands with.
const source = "tamiyo"

const (
	levelInfo     = leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	levelWarning  = leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	levelCritical = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL

	healthHealthy  = leyline.HealthStatus_HEALTH_STATUS_HEALTHY
	healthDegraded = leyline.HealthStatus_HEALTH_STATUS_DEGRADED
	healthCritical = leyline.HealthStatus_HEALTH_STATUS_CRITICAL
)

// evaluation is one pass over one report.
type evaluation struct {
	config     *Config
	record     *Record // as it will be
	state      State
	now        time.Time
	candidates func(slot []int) ([]Candidate, error)

	policy string // version in force: all that a decision says names the same one
	loss   reading
	plan   plan

	deciding deciding
	verdict  rules.Verdict

	commands []*leyline.AdaptationCommand
	reports  []*leyline.FieldReport
	events   []*leyline.TelemetryEvent
	chosen   map[string]choice // what this pass germinated, by seed id
	pausedBy string            // risk reason of the PAUSE commands in this pass
}

// reading is what a report says of the validation loss.
type reading struct {
	validated bool // it has one
	value     float64
	delta     rules.Figure // unknown when there is nothing to compare with
}

// readLoss updates the run's loss trend. A loss of 0 is one that nobody told, whatever
// else was measured: such a report says nothing about a stall.
func (e *evaluation) readLoss() {
	packet := e.state.Packet
	e.loss.value = float64(packet.GetValidationLoss())
	e.loss.validated = packet.GetValidationLoss() != 0
	if !e.loss.validated {
		return
	}
	if e.record.Loss.Known {
		e.loss.delta = rules.Told(e.loss.value - float64(e.record.Loss.Previous))
	} else if delta, told := packet.GetTrainingMetrics()["loss_delta"]; told {
		e.loss.delta = rules.Told(float64(delta))
	}
	e.record.Loss = e.record.Loss.step(packet.GetValidationLoss(), e.config.MinDelta)
}

func (e *evaluation) event(name string, level leyline.TelemetryLevel, pairs ...string) {
	e.events = append(e.events, telemetry.Event(name, level, pairs...))
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }

// lossTrend follows a run's validation loss from report to report.
type lossTrend struct {
	Known    bool    `json:"known"`
	Previous float32 `json:"previous"` // last finite loss
	Best     float32 `json:"best"`
	Stalled  uint32  `json:"stalled"` // epochs since best
}

// step takes the next loss and returns the trend after it. A loss that is not
// finite is no improvement, and is not compared with later.
func (t lossTrend) step(loss float32, minDelta float64) lossTrend {
	best := float64(t.Best)
	switch {
	case !finite(float64(loss)):
		t.Stalled++
	case !t.Known:
		t = lossTrend{Known: true, Previous: loss, Best: loss}
	case float64(loss) < best-minDelta*math.Abs(best):
		t.Previous, t.Best, t.Stalled = loss, loss, 0
	default:
		t.Previous = loss
		t.Stalled++
	}
	return t
}

// restart begins a new patience window at the present loss.
func (t lossTrend) restart() lossTrend {
	t.Best, t.Stalled = t.Previous, 0
	return t
}
