package tamiyo

import (
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// packet is the telemetry of this evaluation. It has the identifier of the
// packet that it answers, or one of its own when that has none.
func (e *evaluation) packet() *leyline.TelemetryPacket {
	id := e.state.Packet.GetPacketId()
	if id == "" || !isText(id) {
		id = "tamiyo-telemetry-" + e.identify("telemetry")
	}
	version := []rune(e.policy)
	packet := telemetry.At(source, id, e.now).
		Level(highestLevel(e.events)).
		Figures(e.figures()...).
		Indicator("policy", string(version[:min(len(version), 8)])).
		Indicator("mode", strconv.Itoa(int(indicator(e.conservative())))).
		Indicator("training_run_id", e.record.Run).
		Indicator("evaluated_epoch", decimal(uint64(e.record.Epoch)))
	if step := e.state.Packet.GetGlobalStep(); step != 0 {
		packet.Indicator("step_index", decimal(step))
	}
	packet.Health(health(e.events, e.pausedBy))
	if explanation := e.explanation(); explanation != nil {
		e.events = append(e.events, explanation)
	}
	return packet.WithEvents(e.events...).Build()
}

// health is how a run is, by what was told of it and the reason that paused its seeds.
func health(events []*leyline.TelemetryEvent, pausedBy string) (leyline.HealthStatus, string) {
	status, summary := healthHealthy, "stable"
	if len(events) > 0 {
		summary = events[len(events)-1].GetDescription()
	}
	switch highest := highestLevel(events); {
	case highest == levelCritical:
		status = healthCritical
	case highest == levelWarning || pausedBy != "":
		status = healthDegraded
	}
	if pausedBy != "" {
		summary = pausedBy
	}
	return status, summary
}

func highestRisk(chosen map[string]choice) float64 {
	highest := 0.0
	for _, planned := range chosen {
		highest = max(highest, planned.candidate.facts(true).EffectiveRisk())
	}
	return highest
}

func highestLevel(events []*leyline.TelemetryEvent) leyline.TelemetryLevel {
	highest := levelInfo
	for _, event := range events {
		highest = max(highest, event.GetLevel())
	}
	return highest
}

func indicator(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// figures tell how the run does.
func (e *evaluation) figures() []telemetry.Figure {
	const ofRun = "{training_run_id}"
	run := e.record.Run
	return []telemetry.Figure{
		telemetry.Measure("tamiyo.validation_loss"+ofRun, "loss",
			"Validation loss that the controller was told of. Absent without a validation.", e.loss.value, run).
			If(e.loss.validated),
		telemetry.Measure("tamiyo.loss_delta"+ofRun, "loss",
			"Its change since the validation before; negative is better. Absent when there is none to compare with.",
			e.loss.delta.Value, run).If(e.loss.delta.Known),
		telemetry.Is("tamiyo.conservative_mode"+ofRun,
			"1 while the controller starts no growth, after something went wrong.", e.conservative(), run),
		telemetry.Measure("tamiyo.evaluated_epoch"+ofRun, "epoch", "Epoch that the controller judged last.", e.record.Epoch, run),
		telemetry.Measure("tamiyo.stalled_epochs"+ofRun, "epoch",
			"Epochs since the loss was last better than ever.", e.record.Loss.Stalled, run),
		telemetry.Measure("tamiyo.breaker.metadata_state"+ofRun, "state",
			"Circuit of the run's questions to the kernel library: 1 closed, 2 open, 3 half-open.",
			e.record.Library.state(e.now), run),
		telemetry.Measure("tamiyo.breaker.inference_state"+ofRun, "state",
			"Circuit of those to the policy that decides: 1 closed, 2 open, 3 half-open.", e.record.Inference.state(e.now), run),
		telemetry.Measure("tamiyo.blueprint.risk"+ofRun, "score",
			"Risk, 0 to 1, of the blueprint that the decision germinates. Absent when it germinates none.",
			highestRisk(e.chosen), run).If(len(e.chosen) > 0),
	}
}

// Latency tells how long a decision took, in the packets that it brought about.
func Latency(took time.Duration) telemetry.Figure {
	return telemetry.Measure("tamiyo.inference.latency_ms", "ms",
		"Time of the controller's last decision.", float64(took.Microseconds())/1e3)
}

// PacketSeries are the points of packets about runs, by the names that they have where
// packets are shown.
func PacketSeries() []telemetry.Series {
	return telemetry.Declared((&evaluation{record: new(Record), config: new(Config)}).figures(), []telemetry.Figure{Latency(0)})
}
