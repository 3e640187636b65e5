package control

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/esper-lite/weatherlight/leyline"
)

// logEvents repeats what a decision on a run tells at WARNING or above: telemetry is for
// whoever collects it, the log for everybody.
func (r *Room) logEvents(ctx context.Context, run string, packets []*leyline.TelemetryPacket) {
	for _, packet := range packets {
		for _, event := range packet.GetEvents() {
			if level := logLevel(event.GetLevel()); level >= slog.LevelWarn {
				r.config.Logger.LogAttrs(ctx, level, event.GetDescription(), attributesOf(run, event)...)
			}
		}
	}
}

func logLevel(level leyline.TelemetryLevel) slog.Level {
	switch level {
	case leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING:
		return slog.LevelWarn
	case leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR, leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL:
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

func attributesOf(run string, event *leyline.TelemetryEvent) []slog.Attr {
	attributes := []slog.Attr{slog.String("run", run)}
	for _, name := range slices.Sorted(maps.Keys(event.GetAttributes())) {
		if name != "training_run_id" {
			attributes = append(attributes, slog.String(name, event.GetAttributes()[name]))
		}
	}
	return attributes
}
