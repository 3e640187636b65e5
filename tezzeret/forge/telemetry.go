package forge

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Stats are the compilations so far.
func (f *Forge) Stats() Stats {
	// Asked before locking: a state change calls back into the record.
	state := leyline.CircuitState(f.circuit.State())
	parked := len(f.Result().Parked)
	r := f.record
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := r.stats
	stats.CompileMsBy, stats.PrewarmMsBy = maps.Clone(stats.CompileMsBy), maps.Clone(stats.PrewarmMsBy)
	stats.Circuit, stats.Running, stats.Jobs.Parked = state, f.inFlight.Load(), parked
	return stats
}

// Packet returns a telemetry packet of all figures and of the events since the
// last packet. Its level is ERROR when there is an ERROR event, else WARNING
// while the circuit is open or the mode conservative, else INFO.
func (f *Forge) Packet() *leyline.TelemetryPacket {
	figures, events := f.Stats().Figures(), f.record.drain()
	level := packetLevel(f.circuit.State() == gobreaker.StateOpen || f.record.isConservative(), events)
	packet := telemetry.New("tezzeret", "tezzeret").
		WithID(fmt.Sprintf("tezzeret-%d", time.Now().UnixMilli())).
		Level(level).
		Figures(telemetry.Bare(figures)...).
		Events(events...)
	if level != leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO {
		packet.Health(leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "compilations fail")
	}
	return packet.Build()
}

func packetLevel(careful bool, events []*leyline.TelemetryEvent) leyline.TelemetryLevel {
	if slices.ContainsFunc(events, func(e *leyline.TelemetryEvent) bool {
		return e.GetLevel() >= leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR
	}) {
		return leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR
	}
	if careful {
		return leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	}
	return leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
}
