package weatherlight

import (
	"context"
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
)

// workerHealth sums up the status table.
type workerHealth struct {
	workers             []supervise.Status
	running, backingOff int
	down                int
	restarts            int
	lastError           string
	lastErrorAt         time.Time
	// recent says that a worker has failed and has not been well since.
	recent bool
}

func (s *Service) workerHealth() workerHealth {
	health := workerHealth{workers: s.supervisor.Status()}
	for _, worker := range health.workers {
		health.restarts += worker.Restarts
		switch worker.State {
		case supervise.Running, supervise.Starting:
			health.running++
		case supervise.BackingOff, supervise.Degraded:
			health.backingOff++
		case supervise.Failed, supervise.Abandoned:
			health.down++
		default:
			// New, stopping, stopped and finished workers are as they should be.
		}
		if worker.Streak > 0 {
			health.recent = true
		}
		if worker.LastErrorAt.After(health.lastErrorAt) {
			health.lastError, health.lastErrorAt = worker.LastError, worker.LastErrorAt
		}
	}
	return health
}

// mode is the indicator system_mode.
func (h workerHealth) mode() string {
	if h.backingOff > 0 || h.down > 0 {
		return "degraded"
	}
	return "operational"
}

// status and summary of the health block. An error that its worker has got over
// no longer counts.
func (h workerHealth) status() (leyline.HealthStatus, string) {
	switch {
	case h.down > 0:
		return leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "worker_down"
	case h.backingOff > 0:
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "backoff"
	case h.recent:
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "recent_error"
	default:
		return leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady"
	}
}

// summaryPacket reports on the whole service.
func (s *Service) summaryPacket(ctx context.Context) *leyline.TelemetryPacket {
	packet := telemetry.New("weatherlight", "weatherlight")
	for _, point := range s.points(ctx) {
		packet.Metric(point.name, point.value, point.unit, point.labels...)
	}
	health := s.workerHealth()
	if health.recent {
		packet.Event("worker_error", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"last_error", health.lastError,
			"last_error_ts", strconv.FormatFloat(float64(health.lastErrorAt.UnixMilli())/1e3, 'f', 3, 64))
	}
	if reason := s.emergency.reason(); reason != "" {
		packet.Event("emergency_last_reason", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "reason", reason)
	}
	status, summary := health.status()
	return packet.Health(status, summary).
		Indicator("workers_running", strconv.Itoa(health.running)).
		Indicator("workers_backing_off", strconv.Itoa(health.backingOff)).
		Indicator("system_mode", health.mode()).
		Build()
}
