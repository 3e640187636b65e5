package weatherlight

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// deadLetters is the stream of refused and exhausted entries.
const deadLetters = "oona.deadletter"

// busMetricsTimeout bounds the look at the bus: a slow bus makes a snapshot
// partial, it does not hold it up.
const busMetricsTimeout = time.Second

// point is one measurement. The summary packet and /metrics are both made from
// the same list of points.
type point struct {
	name  string
	value float64
	unit  string
	// labels are pairs of attribute name and text.
	labels []string
	// series, when set, is the name on /metrics, with seriesLabels: the
	// packet's name then holds the label in itself, as its readers expect.
	series       string
	seriesLabels []string
}

// series are the points of /metrics. Kasmina's are among them, which on the bus
// travel in its own packets.
func (s *Service) series(ctx context.Context) []point {
	return append(s.points(ctx), s.seedPoints()...)
}

// points measures everything of the summary packet at once. What cannot be asked is
// left out.
func (s *Service) points(ctx context.Context) []point {
	points := s.workerPoints()
	points = append(points, s.libraryPoints()...)
	points = append(points, s.busPoints(ctx)...)
	points = append(points, signalPoints(s.signals.Stats(shmsignal.Rollback), "weatherlight.rollback")...)
	points = append(points, s.emergency.points()...)
	skipped := shmsignal.Stats{Skipped: s.signals.Stats(shmsignal.Emergency).Skipped} // the watch counts the rest
	points = append(points, signalPoints(skipped, "weatherlight.emergency")...)
	points = append(points, s.forgePoints()...)
	points = append(points, s.catalogPoints()...)
	points = append(points, prefixed("", s.reports.Metrics(), noUnit)...)
	points = append(points, s.telemetryPoints()...)
	points = append(points, s.tamiyo.points()...)
	points = append(points, s.health.points()...)
	points = append(points, s.fleet.points()...)
	points = append(points, s.outboxPoints(ctx)...)
	return append(points, s.chores.points()...)
}

func (s *Service) workerPoints() []point {
	health := s.workerHealth()
	points := []point{
		{name: "weatherlight.tasks.running", value: float64(health.running), unit: "count"},
		{name: "weatherlight.tasks.backing_off", value: float64(health.backingOff), unit: "count"},
		{name: "weatherlight.uptime_s", value: time.Since(s.begun).Seconds(), unit: "seconds"},
		{name: "weatherlight.restarts_total", value: float64(health.restarts), unit: "count"},
	}
	if !health.lastErrorAt.IsZero() {
		at := float64(health.lastErrorAt.UnixMilli()) / 1e3
		points = append(points, point{name: "weatherlight.last_error_ts", value: at, unit: "unix_s"})
	}
	for _, worker := range health.workers {
		points = append(points, workerStatusPoints(worker)...)
	}
	return points
}

func workerStatusPoints(worker supervise.Status) []point {
	measure := func(what, unit string, value float64) point {
		return point{
			name: "weatherlight.worker." + worker.Name + "." + what, value: value, unit: unit,
			series: "weatherlight_worker_" + what, seriesLabels: []string{"worker", worker.Name},
		}
	}
	points := []point{
		measure("running", "bool", flag(worker.State == supervise.Running)),
		measure("restarts", "count", float64(worker.Restarts)),
	}
	if worker.Backoff > 0 {
		points = append(points, measure("backoff_seconds", "seconds", worker.Backoff.Seconds()))
	}
	return points
}

func (s *Service) libraryPoints() []point {
	points := prefixed("urza.prefetch.", s.prefetcher.Metrics(), func(name string) string {
		if strings.HasSuffix(name, "_ms") {
			return "ms"
		}
		return "count"
	})
	return append(points, prefixed("urza.library.", s.library.Metrics(), noUnit)...)
}

func (s *Service) busPoints(ctx context.Context) []point {
	ctx, cancel := context.WithTimeout(ctx, busMetricsTimeout)
	defer cancel()
	// A bus that is down gives its own counters and leaves the depths out; the
	// error is told by the breaker's state and by the workers.
	metrics, err := s.bus.Metrics(ctx)
	points := prefixed("oona.", metrics, noUnit)
	points = append(points, point{name: "oona.metrics_complete", value: flag(err == nil), unit: "bool"})
	for _, drop := range s.bus.Drops() {
		points = append(points, point{
			name: "oona.refused_total", value: float64(drop.Count), unit: "count",
			labels: []string{"reason", drop.Reason, "stream", drop.Stream},
		})
	}
	return points
}

func (s *Service) forgePoints() []point { return prefixed("", s.forge.Metrics(), noUnit) }

func (s *Service) seedPoints() []point {
	points := []point{
		{name: "kasmina.record.conflicts_total", value: float64(s.runs.Conflicts()), unit: "count"},
		{name: "kasmina.record.recovered_total", value: float64(s.runs.Recovered()), unit: "count"},
	}
	for _, measured := range s.runs.Counters().Points() {
		points = append(points, point{
			name: measured.GetName(), value: measured.GetValue(), unit: measured.GetUnit(),
			labels: pairs(measured.GetAttributes()),
		})
	}
	return points
}

func (s *Service) telemetryPoints() []point {
	points := []point{
		{name: "weatherlight.telemetry.dropped_total", value: float64(s.telemetry.dropped.Load()), unit: "count"},
		{name: "weatherlight.telemetry.publish_failures_total", value: float64(s.telemetry.failed.Load()), unit: "count"},
	}
	if count := s.telemetry.droppedOfSeeds.Load(); count > 0 {
		points = append(points, point{name: "kasmina.telemetry.dropped_total", value: float64(count), unit: "count"})
	}
	for number := range s.telemetry.byPriority {
		if count := s.telemetry.byPriority[number].Load(); count > 0 {
			priority := leyline.MessagePriority(number).String()
			points = append(points, point{
				name: "weatherlight.telemetry.published_total", value: float64(count), unit: "count",
				labels: []string{"priority", priority},
			})
		}
	}
	return points
}

// prefixed turns named figures into points, in the order of their names.
func prefixed(prefix string, figures map[string]float64, unit func(string) string) []point {
	points := make([]point, 0, len(figures))
	for _, name := range sortedNames(figures) {
		points = append(points, point{name: prefix + name, value: figures[name], unit: unit(name)})
	}
	return points
}

func noUnit(string) string { return "" }

func flag(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

func sortedNames[V any](named map[string]V) []string { return slices.Sorted(maps.Keys(named)) }

func pairs(attributes map[string]string) []string {
	list := make([]string, 0, 2*len(attributes))
	for _, name := range sortedNames(attributes) {
		list = append(list, name, attributes[name])
	}
	return list
}

// points tell who leads.
func (f *fleet) points() []point {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []point{
		{name: "weatherlight.leader", value: flag(f.token != 0), unit: "bool"},
		{name: "weatherlight.leader.token", value: float64(f.token), unit: "count"},
		{name: "weatherlight.leader.takeovers_total", value: float64(f.takeovers), unit: "count"},
		{name: "weatherlight.lease.failures_total", value: float64(f.failures), unit: "count"},
		{name: "weatherlight.instances", value: float64(len(f.members)), unit: "count"},
	}
}
