package tamiyo

import (
	"math"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// evaluation is one pass over one report.
type evaluation struct {
	config     *Config
	record     *Record // as it will be
	state      State
	now        time.Time
	candidates func(slot []int) ([]Candidate, error)

	validated bool // the report carries validation figures
	loss      float64
	lossDelta float64
	policy    string

	commands []*leyline.AdaptationCommand
	reports  []*leyline.FieldReport
	events   []*leyline.TelemetryEvent
	chosen   map[string]Candidate // what this pass germinated, by seed id
	pausedBy string               // risk reason of the PAUSE commands in this pass
}

// readLoss updates the run's loss trend. A report with neither loss nor
// accuracy was sent between validations and says nothing about a stall.
func (e *evaluation) readLoss() {
	packet := e.state.Packet
	e.loss = float64(packet.GetValidationLoss())
	e.validated = packet.GetValidationLoss() != 0 || packet.GetValidationAccuracy() != 0
	if !e.validated {
		return
	}
	if e.record.Loss.Known {
		e.lossDelta = e.loss - float64(e.record.Loss.Previous)
	} else {
		e.lossDelta = float64(packet.GetTrainingMetrics()["loss_delta"])
	}
	e.record.Loss = e.record.Loss.step(packet.GetValidationLoss(), e.config.MinDelta)
}

func (e *evaluation) event(name string, level leyline.TelemetryLevel, pairs ...string) {
	e.events = append(e.events, event(name, level, pairs...))
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }
