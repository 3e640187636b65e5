package weatherlight

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

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
	points := []metrics.Point{{Name: "weatherlight.uptime_s", Value: time.Since(s.begun).Seconds(), Unit: "seconds"}}
	points = append(points, s.workers().Points()...)
	points = append(points, s.libraryPoints()...)
	points = append(points, s.busPoints(ctx)...)
	points = append(points, signalPoints(s.signals.Stats(shmsignal.Rollback), "weatherlight.rollback")...)
	points = append(points, s.emergency.Points()...)
	skipped := shmsignal.Stats{Skipped: s.signals.Stats(shmsignal.Emergency).Skipped} // the watch counts the rest
	points = append(points, signalPoints(skipped, "weatherlight.emergency")...)
	points = append(points, s.forgePoints()...)
	points = append(points, metrics.Prefixed("", s.catalog.Metrics(), nil)...)
	points = append(points, metrics.Prefixed("", s.reports.Metrics(), nil)...)
	points = append(points, s.telemetry.Points()...)
	points = append(points, s.tamiyo.points()...)
	points = append(points, s.health.Points()...)
	points = append(points, s.fleet.Points()...)
	points = append(points, s.durable.Points(ctx)...)
	return append(points, s.chores.Points()...)
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
	points = append(points, metrics.Point{Name: "oona.metrics_complete", Value: metrics.Flag(err == nil), Unit: "bool"})
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

func sortedNames[V any](named map[string]V) []string { return slices.Sorted(maps.Keys(named)) }

func pairs(attributes map[string]string) []string {
	list := make([]string, 0, 2*len(attributes))
	for _, name := range sortedNames(attributes) {
		list = append(list, name, attributes[name])
	}
	return list
}
