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

// Metrics returns the forge's counters by metric name. Durations are
// milliseconds; the breaker's state is a Leyline CircuitBreakerState number.
func (f *Forge) Metrics() map[string]float64 {
	// Asked before locking: a state change calls back into the record.
	state := leyline.CircuitState(f.circuit.State())
	parked := len(f.Result().Parked)
	r := f.record
	r.mu.Lock()
	defer r.mu.Unlock()
	metrics := maps.Clone(r.counts)
	metrics["tezzeret.breaker.state"] = float64(state)
	metrics["tezzeret.compile.running"] = float64(f.inFlight.Load())
	metrics["tezzeret.jobs.parked"] = float64(parked)
	if r.conservative {
		metrics["tezzeret.mode.conservative"] = 1
	}
	return metrics
}

// Packet returns a telemetry packet of all metrics and of the events since the
// last packet. Its level is ERROR when there is an ERROR event, else WARNING
// while the circuit is open or the mode conservative, else INFO.
func (f *Forge) Packet() *leyline.TelemetryPacket {
	metrics, events := f.Metrics(), f.record.drain()
	level := packetLevel(f.circuit.State() == gobreaker.StateOpen || f.record.isConservative(), events)
	packet := telemetry.New("tezzeret", "tezzeret").
		WithID(fmt.Sprintf("tezzeret-%d", time.Now().UnixMilli())).
		Level(level).
		Events(events...)
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		packet.Metric(name, metrics[name], "")
	}
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
