package weatherlight

import (
	"context"
	"slices"
	"strconv"
	"strings"
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

// overall is the health of the whole service. What the workers say keeps the
// words that readers of the packet know; an alarm is heard where the workers say
// nothing, or less.
func overall(workers workerHealth, alarms []Alarm) (leyline.HealthStatus, string) {
	status, summary := workers.status()
	alarm := worst(alarms)
	switch {
	case alarm == nil || alarm.Severity == severityInfo || status == leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY:
		return status, summary
	case alarm.Severity == severityCritical:
		return leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, alarm.Name
	case status == leyline.HealthStatus_HEALTH_STATUS_HEALTHY:
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, alarm.Name
	default:
		return status, summary
	}
}

// reportAlarms names the raised alarms in the health block, and each in an event
// of its own.
func reportAlarms(packet *telemetry.Packet, alarms []Alarm) {
	if len(alarms) == 0 {
		return
	}
	var names []string
	for _, alarm := range alarms {
		if !slices.Contains(names, alarm.Name) {
			names = append(names, alarm.Name)
		}
		packet.Event("alarm", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"alarm", alarm.Name, "subject", alarm.Subject, "severity", string(alarm.Severity),
			"since", unixText(alarm.Since), "detail", alarm.Detail)
	}
	packet.Indicator("alarms", strings.Join(names, ","))
}

// unixText is a time in seconds with three decimals.
func unixText(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}

// summaryPacket reports on the whole service.
func (s *Service) summaryPacket(ctx context.Context) *leyline.TelemetryPacket {
	packet := telemetry.New("weatherlight", "weatherlight")
	for _, point := range s.points(ctx) {
		packet.Metric(point.Name, point.Value, point.Unit, point.Labels...)
	}
	health := s.workerHealth()
	if health.recent {
		packet.Event("worker_error", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"last_error", health.lastError,
			"last_error_ts", unixText(health.lastErrorAt))
	}
	if reason := s.emergency.Reason(); reason != "" {
		packet.Event("emergency_last_reason", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "reason", reason)
	}
	alarms := s.health.alarms()
	reportAlarms(packet, alarms)
	if nissa := s.nissa.status(); nissa != nil {
		packet.Indicator("nissa", nissa.State)
	}
	s.tamiyo.indicate(packet)
	status, summary := overall(health, alarms)
	return packet.Health(status, summary).
		Indicator("workers_running", strconv.Itoa(health.running)).
		Indicator("workers_backing_off", strconv.Itoa(health.backingOff)).
		Indicator("system_mode", health.mode()).
		Build()
}
