package weatherlight

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// emergencyWatch counts and reports what arrives on the emergency stream.
type emergencyWatch struct {
	emit func(*leyline.TelemetryPacket)

	mu         sync.Mutex
	detections int64
	lastAt     time.Time
	lastLevel  leyline.EmergencyLevel
	lastReason string
	packets    int64
	tamiyo     int64
	tamiyoAt   time.Time
}

func newEmergencyWatch(emit func(*leyline.TelemetryPacket)) *emergencyWatch {
	return &emergencyWatch{emit: emit}
}

// Signal counts an emergency signal and reports it as telemetry.
func (e *emergencyWatch) Signal(_ context.Context, signal *leyline.EmergencySignal) ([]oona.Message, error) {
	reason := signal.GetReason()
	if reason == "" {
		reason = "unspecified"
	}
	e.mu.Lock()
	e.detections++
	e.lastAt, e.lastLevel, e.lastReason = time.Now(), signal.GetLevel(), reason
	e.mu.Unlock()
	e.emit(emergencyPacket(signal, reason))
	return nil, nil
}

// emergencyPacket reports one signal. Its latency is taken from wall clocks:
// the monotonic clocks of two hosts have nothing in common.
func emergencyPacket(signal *leyline.EmergencySignal, reason string) *leyline.TelemetryPacket {
	origin := "stream:" + signal.GetOrigin()
	packet := telemetry.New("weatherlight", "weatherlight-emergency").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Metric("weatherlight.emergency.level", float64(signal.GetLevel()), "count").
		Event("emergency_signal_received", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL,
			"reason", reason, "origin", origin, "level", strconv.Itoa(int(signal.GetLevel()))).
		Health(leyline.HealthStatus_HEALTH_STATUS_CRITICAL, "emergency_detected").
		Indicator(telemetry.PriorityIndicator, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL.String()).
		Indicator("origin", origin)
	if triggered := signal.GetTriggeredAt(); triggered.IsValid() {
		latency := max(0, time.Since(triggered.AsTime()))
		packet.Metric("weatherlight.emergency.latency_ms", latency.Seconds()*1e3, "ms")
	}
	return packet.Build()
}

// Telemetry counts an urgent packet by where it came from. It publishes
// nothing, and ignores our own packets: each would bring about the next.
func (e *emergencyWatch) Telemetry(_ context.Context, packet *leyline.TelemetryPacket) ([]oona.Message, error) {
	source := packet.GetSourceSubsystem()
	if source == "weatherlight" {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packets++
	if source == "tamiyo" {
		e.tamiyo++
		e.tamiyoAt = time.Now()
	}
	return nil, nil
}

// points are the counters so far, in the order of the prototype's table. Those
// that never counted are left out, as it does.
func (e *emergencyWatch) points() []point {
	e.mu.Lock()
	defer e.mu.Unlock()
	var points []point
	if e.detections > 0 {
		points = append(points,
			point{name: "weatherlight.emergency.detections_total", value: float64(e.detections), unit: "count"},
			point{name: "weatherlight.emergency.last_detect_ms_ago", value: sinceMs(e.lastAt), unit: "ms"},
			point{name: "weatherlight.emergency.last_level", value: float64(e.lastLevel), unit: "count"})
	}
	if e.packets > 0 {
		points = append(points, point{name: "weatherlight.emergency.telemetry_total", value: float64(e.packets), unit: "count"})
	}
	if e.tamiyo > 0 {
		points = append(points,
			point{name: "weatherlight.emergency.tamiyo_total", value: float64(e.tamiyo), unit: "count"},
			point{name: "weatherlight.emergency.tamiyo_last_ms_ago", value: sinceMs(e.tamiyoAt), unit: "ms"})
	}
	return points
}

// reason is that of the last signal, or empty.
func (e *emergencyWatch) reason() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastReason
}

func sinceMs(t time.Time) float64 { return time.Since(t).Seconds() * 1e3 }
