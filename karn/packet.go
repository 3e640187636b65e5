package karn

import (
	"maps"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Packet reports on the selections since the last one: the counters of Metrics
// and the events, which it drains. Its level is that of the gravest event. It is
// nil when there is none to report.
func (c *Catalog) Packet() *leyline.TelemetryPacket {
	events := c.DrainEvents()
	if len(events) == 0 {
		return nil
	}
	packet, level := telemetry.New("karn", "karn"), leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	for _, event := range events {
		level = max(level, event.GetLevel())
	}
	metrics := c.Metrics()
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		packet.Metric(name, metrics[name], "")
	}
	return packet.Level(level).Events(events...).Build()
}
