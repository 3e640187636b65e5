package tamiyo

import (
	"math"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// evaluation is one pass over one state packet.
type evaluation struct {
	config Config
	run    *run
	state  *leyline.SystemStatePacket
	now    time.Time

	validated bool // the packet carries validation figures
	loss      float64
	lossDelta float64

	commands []*leyline.AdaptationCommand
	reports  []*leyline.FieldReport
	events   []*leyline.TelemetryEvent
	chosen   *Candidate // what this pass germinated
	pausedBy string     // risk reason of the PAUSE commands in this pass
}

// readLoss updates the run's loss trend. A packet with neither loss nor
// accuracy was sent between validations and says nothing about a stall.
func (e *evaluation) readLoss() {
	e.loss = float64(e.state.GetValidationLoss())
	e.validated = e.state.GetValidationLoss() != 0 || e.state.GetValidationAccuracy() != 0
	if !e.validated {
		return
	}
	if e.run.loss.known {
		e.lossDelta = e.loss - e.run.loss.previous
	} else {
		e.lossDelta = float64(e.state.GetTrainingMetrics()["loss_delta"])
	}
	e.run.loss = e.run.loss.step(e.loss, e.config.MinDelta)
}

func (e *evaluation) event(name string, level leyline.TelemetryLevel, pairs ...string) {
	e.events = append(e.events, event(name, level, pairs...))
}

func finite(value float64) bool { return !math.IsNaN(value) && !math.IsInf(value, 0) }
