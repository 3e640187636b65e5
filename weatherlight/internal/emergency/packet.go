package emergency

import (
	"strconv"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// alarm is an emergency on its way into telemetry.
type alarm struct {
	shmsignal.Trigger

	origin  string
	untimed bool // its latency is not known
}

// packet tells of an emergency.
func (a alarm) packet() *leyline.TelemetryPacket {
	level := strconv.Itoa(int(a.Level))
	attributes := counted(a.Trigger, "reason", a.Reason, "origin", a.origin, "level", level)
	packet := telemetry.New("weatherlight", "weatherlight-emergency").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Metric("weatherlight.emergency.level", float64(a.Level), "count").
		Event("emergency_signal_received", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, attributes...).
		Health(leyline.HealthStatus_HEALTH_STATUS_CRITICAL, "emergency_detected").
		Indicator(telemetry.PriorityIndicator, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL.String()).
		Indicator("origin", a.origin)
	if !a.untimed {
		packet.Metric("weatherlight.emergency.latency_ms", a.Latency.Seconds()*1e3, "ms")
	}
	return packet.Build()
}

// RollbackPacket tells that a trainer missed its deadline and rolled back.
func RollbackPacket(t shmsignal.Trigger) *leyline.TelemetryPacket {
	return telemetry.New("weatherlight", "weatherlight-rollback-signal").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Metric("weatherlight.rollback.deadline_latency_ms", t.Latency.Seconds()*1e3, "ms").
		Event("rollback_deadline_triggered", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, counted(t)...).
		Health(leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "").
		Indicator(telemetry.PriorityIndicator, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH.String()).
		Build()
}

// counted adds how many signals a trigger stands for, when it is not one.
func counted(t shmsignal.Trigger, attributes ...string) []string {
	if t.Count < 2 {
		return attributes
	}
	return append(attributes, "triggers", strconv.Itoa(t.Count))
}
