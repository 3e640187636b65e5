package tamiyo

import (
	"github.com/esper-lite/weatherlight/leyline"
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

// event prepares a telemetry event; the pairs are attribute names and texts.
func event(name string, level leyline.TelemetryLevel, pairs ...string) *leyline.TelemetryEvent {
	attributes := make(map[string]string, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		attributes[pairs[i]] = pairs[i+1]
	}
	return &leyline.TelemetryEvent{Description: name, Level: level, Attributes: attributes}
}

// withEvents finishes a packet: its events alone decide how urgent it is.
func withEvents(packet *telemetry.Packet, events ...*leyline.TelemetryEvent) *leyline.TelemetryPacket {
	return packet.Events(events...).
		Indicator(telemetry.PriorityIndicator, telemetry.EventPriority(events).String()).
		Build()
}
