package health

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
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

// Overall is the health of the whole service. What the workers say keeps the
// words that readers of the packet know; an alarm is heard where the workers say
// nothing, or less.
func Overall(workers Workers, alarms []Alarm) (leyline.HealthStatus, string) {
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

// Points tell of all workers together, and of each.
func (w Workers) Points() []metrics.Point {
	points := []metrics.Point{
		{Name: "weatherlight.tasks.running", Value: float64(w.Running), Unit: "count"},
		{Name: "weatherlight.tasks.backing_off", Value: float64(w.BackingOff), Unit: "count"},
		{Name: "weatherlight.restarts_total", Value: float64(w.Restarts), Unit: "count"},
	}
	if !w.LastErrorAt.IsZero() {
		at := float64(w.LastErrorAt.UnixMilli()) / 1e3
		points = append(points, metrics.Point{Name: "weatherlight.last_error_ts", Value: at, Unit: "unix_s"})
	}
	for _, worker := range w.Table {
		points = append(points, workerPoints(worker)...)
	}
	return points
}

func workerPoints(worker supervise.Status) []metrics.Point {
	measure := func(what, unit string, value float64) metrics.Point {
		return metrics.Point{
			Name: "weatherlight.worker." + worker.Name + "." + what, Value: value, Unit: unit,
			Series: "weatherlight_worker_" + what, SeriesLabels: []string{"worker", worker.Name},
		}
	}
	points := []metrics.Point{
		measure("running", "bool", metrics.Flag(worker.State == supervise.Running)),
		measure("restarts", "count", float64(worker.Restarts)),
	}
	if worker.Backoff > 0 {
		points = append(points, measure("backoff_seconds", "seconds", worker.Backoff.Seconds()))
	}
	return points
}

// WorkerSeries explain the points of workers.
func WorkerSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_tasks_running", Kind: telemetry.Gauge, Unit: "count", Meaning: "Workers that run or start."},
		{Name: "weatherlight_tasks_backing_off", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Workers that wait after a failure or whose circuit is open; more than 0 means degraded."},
		{Name: "weatherlight_restarts_total", Kind: telemetry.Counter, Unit: "count", Meaning: "Restarts of all workers."},
		{Name: "weatherlight_last_error_ts", Kind: telemetry.Gauge, Unit: "unix_s",
			Meaning: "When a worker last failed. Absent before the first failure."},
		{Name: "weatherlight_worker_running", Labels: "worker", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while the worker runs."},
		{Name: "weatherlight_worker_restarts", Labels: "worker", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Restarts of the worker."},
		{Name: "weatherlight_worker_backoff_seconds", Labels: "worker", Kind: telemetry.Gauge, Unit: "seconds",
			Meaning: "Pause that the worker makes after its failure. Absent without one."},
	}
}
