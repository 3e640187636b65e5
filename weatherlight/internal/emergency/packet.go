package emergency

import (
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// alarm is an emergency on its way into telemetry.
type alarm struct {
	shmsignal.Trigger

	origin  string
	untimed bool   // its latency is not known
	signal  string // of which signal on the bus it tells, "" when of none
}

// packet tells of an emergency.
func (a alarm) packet() *leyline.TelemetryPacket {
	level := strconv.Itoa(int(a.Level))
	attributes := counted(a.Trigger, "reason", a.Reason, "origin", a.origin, "level", level)
	packet := telemetry.New("weatherlight", "weatherlight-emergency")
	if a.signal != "" { // which two instances tell of when one had it in hand and was stopped
		packet.About(a.signal, a.origin, level, a.Reason)
	}
	return packet.
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Figures(a.figures()...).
		Event("emergency_signal_received", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, attributes...).
		Health(leyline.HealthStatus_HEALTH_STATUS_CRITICAL, "emergency_detected").
		Indicator(telemetry.PriorityIndicator, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL.String()).
		Indicator("origin", a.origin).
		Build()
}

func (a alarm) figures() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Measure("weatherlight.emergency.level", "count",
			"Level of the emergency that the packet tells of: 1 notice, 2 elevated, 3 conservative, 4 halt.", a.Level),
		telemetry.Measure("weatherlight.emergency.latency_ms", "ms",
			"Time from raising that emergency until it was seen. Absent when the signal had no time.",
			a.Latency.Seconds()*1e3).If(!a.untimed),
	}
}

// PacketSeries are the points that travel in the packets of emergencies and rollbacks.
func PacketSeries() []telemetry.Series {
	return telemetry.Declared(alarm{}.figures(), []telemetry.Figure{rollbackLatency(0)})
}

func rollbackLatency(latency time.Duration) telemetry.Figure {
	return telemetry.Measure("weatherlight.rollback.deadline_latency_ms", "ms",
		"Time from raising the rollback signal until it was seen.", latency.Seconds()*1e3)
}

// RollbackPacket tells that a trainer missed its deadline and rolled back.
func RollbackPacket(t shmsignal.Trigger) *leyline.TelemetryPacket {
	return telemetry.New("weatherlight", "weatherlight-rollback-signal").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Figures(rollbackLatency(t.Latency)).
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
