package karn

import (
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Packet reports on the selections since the last one: the figures of Stats
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
	return packet.Figures(telemetry.Bare(c.Stats().Figures())...).Level(level).Events(events...).Build()
}
