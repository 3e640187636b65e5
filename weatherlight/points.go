package weatherlight

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// deadLetters is the stream of refused and exhausted entries.
const deadLetters = "oona.deadletter"

// busMetricsTimeout bounds the look at the bus: a slow bus makes a snapshot
// partial, it does not hold it up.
const busMetricsTimeout = time.Second

// series are the points of /metrics. Kasmina's are among them, which on the bus
// travel in its own packets.
func (s *Service) series(ctx context.Context) []metrics.Point {
	return append(s.points(ctx), s.seedPoints()...)
}

// measure is what a scrape shows. Before the boot is over there is nothing to measure.
func (s *Service) measure() ([]metrics.Point, []oona.Histogram) {
	if !s.booted.Load() {
		return nil, nil
	}
	// A collector carries no context; busPoints bounds what it asks.
	return s.series(context.Background()), s.bus.Histograms()
}

// points measures everything of the summary packet at once. What cannot be asked is
// left out.
func (s *Service) points(ctx context.Context) []metrics.Point {
	points := s.workerPoints()
	points = append(points, s.libraryPoints()...)
	points = append(points, s.busPoints(ctx)...)
	points = append(points, signalPoints(s.signals.Stats(shmsignal.Rollback), "weatherlight.rollback")...)
	points = append(points, s.emergency.Points()...)
	skipped := shmsignal.Stats{Skipped: s.signals.Stats(shmsignal.Emergency).Skipped} // the watch counts the rest
	points = append(points, signalPoints(skipped, "weatherlight.emergency")...)
	points = append(points, s.forgePoints()...)
	points = append(points, s.catalogPoints()...)
	points = append(points, metrics.Point{
		Name: "tamiyo.field_reports.published_total", Value: float64(s.reports.Published()), Unit: "count",
	})
	points = append(points, s.telemetryPoints()...)
	points = append(points, s.tamiyo.points()...)
	points = append(points, s.health.points()...)
	points = append(points, s.fleet.points()...)
	points = append(points, s.outboxPoints(ctx)...)
	return append(points, s.chores.Points()...)
}

func (s *Service) workerPoints() []metrics.Point {
	health := s.workerHealth()
	points := []metrics.Point{
		{Name: "weatherlight.tasks.running", Value: float64(health.running), Unit: "count"},
		{Name: "weatherlight.tasks.backing_off", Value: float64(health.backingOff), Unit: "count"},
		{Name: "weatherlight.uptime_s", Value: time.Since(s.begun).Seconds(), Unit: "seconds"},
		{Name: "weatherlight.restarts_total", Value: float64(health.restarts), Unit: "count"},
	}
	if !health.lastErrorAt.IsZero() {
		at := float64(health.lastErrorAt.UnixMilli()) / 1e3
		points = append(points, metrics.Point{Name: "weatherlight.last_error_ts", Value: at, Unit: "unix_s"})
	}
	for _, worker := range health.workers {
		points = append(points, workerStatusPoints(worker)...)
	}
	return points
}

func workerStatusPoints(worker supervise.Status) []metrics.Point {
	measure := func(what, unit string, value float64) metrics.Point {
		return metrics.Point{
			Name: "weatherlight.worker." + worker.Name + "." + what, Value: value, Unit: unit,
			Series: "weatherlight_worker_" + what, SeriesLabels: []string{"worker", worker.Name},
		}
	}
	points := []metrics.Point{
		measure("running", "bool", flag(worker.State == supervise.Running)),
		measure("restarts", "count", float64(worker.Restarts)),
	}
	if worker.Backoff > 0 {
		points = append(points, measure("backoff_seconds", "seconds", worker.Backoff.Seconds()))
	}
	return points
}

func (s *Service) libraryPoints() []metrics.Point {
	points := metrics.Prefixed("urza.prefetch.", s.prefetcher.Metrics(), func(name string) string {
		if strings.HasSuffix(name, "_ms") {
			return "ms"
		}
		return "count"
	})
	return append(points, metrics.Prefixed("urza.library.", s.library.Metrics(), nil)...)
}

func (s *Service) busPoints(ctx context.Context) []metrics.Point {
	ctx, cancel := context.WithTimeout(ctx, busMetricsTimeout)
	defer cancel()
	// A bus that is down gives its own counters and leaves the depths out; the
	// error is told by the breaker's state and by the workers.
	figures, err := s.bus.Metrics(ctx)
	points := metrics.Prefixed("oona.", figures, nil)
	points = append(points, metrics.Point{Name: "oona.metrics_complete", Value: flag(err == nil), Unit: "bool"})
	for _, drop := range s.bus.Drops() {
		points = append(points, metrics.Point{
			Name: "oona.refused_total", Value: float64(drop.Count), Unit: "count",
			Labels: []string{"reason", drop.Reason, "stream", drop.Stream},
		})
	}
	return points
}

func (s *Service) forgePoints() []metrics.Point { return metrics.Prefixed("", s.forge.Metrics(), nil) }

func (s *Service) seedPoints() []metrics.Point {
	points := []metrics.Point{
		{Name: "kasmina.record.conflicts_total", Value: float64(s.runs.Conflicts()), Unit: "count"},
		{Name: "kasmina.record.recovered_total", Value: float64(s.runs.Recovered()), Unit: "count"},
	}
	for _, measured := range s.runs.Counters().Points() {
		points = append(points, metrics.Point{
			Name: measured.GetName(), Value: measured.GetValue(), Unit: measured.GetUnit(),
			Labels: pairs(measured.GetAttributes()),
		})
	}
	return points
}

func (s *Service) telemetryPoints() []metrics.Point {
	points := []metrics.Point{
		{Name: "weatherlight.telemetry.dropped_total", Value: float64(s.telemetry.dropped.Load()), Unit: "count"},
		{Name: "weatherlight.telemetry.publish_failures_total", Value: float64(s.telemetry.failed.Load()), Unit: "count"},
	}
	if count := s.telemetry.droppedOfSeeds.Load(); count > 0 {
		points = append(points, metrics.Point{Name: "kasmina.telemetry.dropped_total", Value: float64(count), Unit: "count"})
	}
	for number := range s.telemetry.byPriority {
		if count := s.telemetry.byPriority[number].Load(); count > 0 {
			priority := leyline.MessagePriority(number).String()
			points = append(points, metrics.Point{
				Name: "weatherlight.telemetry.published_total", Value: float64(count), Unit: "count",
				Labels: []string{"priority", priority},
			})
		}
	}
	return points
}

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
func (f *fleet) points() []metrics.Point {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []metrics.Point{
		{Name: "weatherlight.leader", Value: flag(f.token != 0), Unit: "bool"},
		{Name: "weatherlight.leader.token", Value: float64(f.token), Unit: "count"},
		{Name: "weatherlight.leader.takeovers_total", Value: float64(f.takeovers), Unit: "count"},
		{Name: "weatherlight.lease.failures_total", Value: float64(f.failures), Unit: "count"},
		{Name: "weatherlight.instances", Value: float64(len(f.members)), Unit: "count"},
	}
}
