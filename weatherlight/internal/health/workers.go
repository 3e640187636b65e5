package health

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Workers sums up the status table.
type Workers struct {
	Table       []supervise.Status
	Running     int
	BackingOff  int
	Down        int
	Restarts    int
	LastError   string
	LastErrorAt time.Time
	// Recent says that a worker has failed and has not been well since.
	Recent bool
}

// SumUp sums up a status table.
func SumUp(table []supervise.Status) Workers {
	sum := Workers{Table: table}
	for _, worker := range table {
		sum.Restarts += worker.Restarts
		switch worker.State {
		case supervise.Running, supervise.Starting:
			sum.Running++
		case supervise.BackingOff, supervise.Degraded:
			sum.BackingOff++
		case supervise.Failed, supervise.Abandoned:
			sum.Down++
		default:
			// New, stopping, stopped and finished workers are as they should be.
		}
		if worker.Streak > 0 {
			sum.Recent = true
		}
		if worker.LastErrorAt.After(sum.LastErrorAt) {
			sum.LastError, sum.LastErrorAt = worker.LastError, worker.LastErrorAt
		}
	}
	return sum
}

// Mode is the indicator system_mode: operational or degraded.
func (w Workers) Mode() string {
	if w.BackingOff > 0 || w.Down > 0 {
		return "degraded"
	}
	return "operational"
}

// status and summary of the health block. An error that its worker has got over
// no longer counts.
func (w Workers) status() (leyline.HealthStatus, string) {
	switch {
	case w.Down > 0:
		return leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "worker_down"
	case w.BackingOff > 0:
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "backoff"
	case w.Recent:
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "recent_error"
	default:
		return leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady"
	}
}

// Overall is the health of the whole service, with its alarms. What the workers say keeps the
// words that readers of the packet know; an alarm is heard where the workers say
// nothing, or less.
func (w Workers) Overall(alarms []Alarm) (leyline.HealthStatus, string) {
	status, summary := w.status()
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

// Figures tell of all workers together, and of each.
func (w Workers) Figures() []telemetry.Figure {
	figures := []telemetry.Figure{
		telemetry.Measure("weatherlight.tasks.running", "count", "Workers that run or start.", w.Running),
		telemetry.Measure("weatherlight.tasks.backing_off", "count",
			"Workers that wait after a failure or whose circuit is open; more than 0 means degraded.", w.BackingOff),
		telemetry.Count("weatherlight.restarts_total", "Restarts of all workers.", w.Restarts),
		telemetry.Measure("weatherlight.last_error_ts", "unix_s", "When a worker last failed. Absent before the first failure.",
			float64(w.LastErrorAt.UnixMilli())/1e3).If(!w.LastErrorAt.IsZero()),
	}
	for _, worker := range w.Table {
		runs := worker.State == supervise.Running
		figures = append(figures,
			telemetry.Is("weatherlight.worker.<worker>.running", "1 while the worker runs.", runs, worker.Name),
			telemetry.Count("weatherlight.worker.<worker>.restarts", "Restarts of the worker.", worker.Restarts, worker.Name),
			telemetry.Measure("weatherlight.worker.<worker>.backoff_seconds", "seconds",
				"Pause that the worker makes after its failure. Absent without one.",
				worker.Backoff.Seconds(), worker.Name).If(worker.Backoff > 0))
	}
	return figures
}
