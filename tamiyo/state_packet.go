package tamiyo

import (
	"strconv"

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
	run := []string{"training_run_id", e.record.Run}
	packet := telemetry.At(source, id, e.now).
		Level(highestLevel(e.events)).
		Metric("tamiyo.validation_loss", e.loss, "loss", run...).
		Metric("tamiyo.loss_delta", e.lossDelta, "loss", run...).
		Metric("tamiyo.conservative_mode", indicator(e.record.Conservative.active()), "bool", run...).
		Metric("tamiyo.evaluated_epoch", float64(e.record.Epoch), "epoch", run...).
		Metric("tamiyo.stalled_epochs", float64(e.record.Loss.Stalled), "epoch", run...)
	if len(e.chosen) > 0 {
		packet.Metric("tamiyo.blueprint.risk", highestRisk(e.chosen), "score", run...)
	}
	version := []rune(e.policy)
	packet.
		Indicator("policy", string(version[:min(len(version), 8)])).
		Indicator("mode", strconv.Itoa(int(indicator(e.record.Conservative.active())))).
		Indicator("training_run_id", e.record.Run).
		Indicator("evaluated_epoch", decimal(uint64(e.record.Epoch)))
	if step := e.state.Packet.GetGlobalStep(); step != 0 {
		packet.Indicator("step_index", decimal(step))
	}
	packet.Health(health(e.events, e.pausedBy))
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

func highestRisk(chosen map[string]Candidate) float64 {
	highest := 0.0
	for _, candidate := range chosen {
		highest = max(highest, candidate.Risk)
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

// ofRun is the label of what is told of a run.
const ofRun = "training_run_id"

// PacketSeries are the points of packets about runs, by the names that they have where
// packets are shown.
func PacketSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "tamiyo_validation_loss", Labels: ofRun, Kind: telemetry.Gauge, Unit: "loss",
			Meaning: "Validation loss that the controller was told of; 0 without a validation."},
		{Name: "tamiyo_loss_delta", Labels: ofRun, Kind: telemetry.Gauge, Unit: "loss",
			Meaning: "Its change since the validation before; negative is better."},
		{Name: "tamiyo_stalled_epochs", Labels: ofRun, Kind: telemetry.Gauge, Unit: "epoch",
			Meaning: "Epochs since the loss was last better than ever."},
		{Name: "tamiyo_evaluated_epoch", Labels: ofRun, Kind: telemetry.Gauge, Unit: "epoch",
			Meaning: "Epoch that the controller judged last."},
		{Name: "tamiyo_conservative_mode", Labels: ofRun, Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while the controller starts no growth, after something went wrong."},
		{Name: "tamiyo_inference_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the controller's last decision."},
		{Name: "tamiyo_blueprint_risk", Labels: ofRun, Kind: telemetry.Gauge, Unit: "score",
			Meaning: "Risk, 0 to 1, of the blueprint that the decision germinates. Absent when it germinates none."},
	}
}
