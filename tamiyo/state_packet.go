package tamiyo

import (
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// packet is the telemetry of this evaluation; took is how long it lasted.
func (e *evaluation) packet(took time.Duration) *leyline.TelemetryPacket {
	packet := telemetry.New(source, "tamiyo-telemetry").Level(highestLevel(e.events))
	if id := e.state.GetPacketId(); id != "" {
		packet.WithID(id)
	}
	packet.
		Metric("tamiyo.validation_loss", e.loss, "loss").
		Metric("tamiyo.loss_delta", e.lossDelta, "loss").
		Metric("tamiyo.conservative_mode", indicator(e.run.conservative.active), "bool").
		Metric("tamiyo.inference.latency_ms", float64(took.Microseconds())/1000, "ms").
		Metric("tamiyo.evaluated_epoch", float64(e.run.epoch), "epoch").
		Metric("tamiyo.stalled_epochs", float64(e.run.loss.stalled), "epoch")
	if e.chosen != nil {
		packet.Metric("tamiyo.blueprint.risk", e.chosen.Risk, "score")
	}
	e.indicate(packet)
	packet.Health(e.health())
	return withEvents(packet, e.events...)
}

func (e *evaluation) indicate(packet *telemetry.Packet) {
	version := []rune(e.policyVersion())
	packet.
		Indicator("policy", string(version[:min(len(version), 8)])).
		Indicator("mode", strconv.Itoa(int(indicator(e.run.conservative.active)))).
		Indicator("training_run_id", e.run.id).
		Indicator("evaluated_epoch", strconv.FormatUint(uint64(e.run.epoch), 10))
	if step := e.state.GetGlobalStep(); step != 0 {
		packet.Indicator("step_index", strconv.FormatUint(step, 10))
	}
}

func (e *evaluation) health() (leyline.HealthStatus, string) {
	status, summary := healthHealthy, "stable"
	if len(e.events) > 0 {
		summary = e.events[len(e.events)-1].GetDescription()
	}
	switch highest := highestLevel(e.events); {
	case highest == levelCritical:
		status = healthCritical
	case highest == levelWarning || e.pausedBy != "":
		status = healthDegraded
	}
	if e.pausedBy != "" {
		summary = e.pausedBy
	}
	return status, summary
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
