package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/status"
	"github.com/esper-lite/weatherlight/weatherlight/internal/summary"
)

// series are the points of /metrics. Kasmina's are among them, which on the bus
// travel in its own packets.
func (s *Service) series(ctx context.Context) []metrics.Point {
	return append(s.points(ctx), s.runs.Points()...)
}

// measure is what a scrape shows. Before the boot is over there is nothing to measure.
func (s *Service) measure() ([]metrics.Point, []oona.Histogram) {
	if !s.booted.Load() {
		return nil, nil
	}
	// A collector carries no context; OfBus bounds what it asks.
	return s.series(context.Background()), s.bus.Histograms()
}

// points measures everything of the summary packet at once. What cannot be asked is
// left out.
func (s *Service) points(ctx context.Context) []metrics.Point {
	points := []metrics.Point{{Name: "weatherlight.uptime_s", Value: time.Since(s.begun).Seconds(), Unit: "seconds"}}
	for _, measured := range [][]metrics.Point{
		s.workers().Points(),
		metrics.Prefixed("urza.prefetch.", s.prefetcher.Stats().Metrics(), prefetchUnit),
		metrics.Prefixed("urza.library.", s.library.Metrics(), nil),
		metrics.OfBus(ctx, s.bus),
		s.signals.Points(),
		s.emergency.Points(),
		metrics.Prefixed("", s.forge.Metrics(), nil),
		metrics.Prefixed("", s.catalog.Metrics(), nil),
		{{Name: "tamiyo.field_reports.published_total", Value: float64(s.reports.Published()), Unit: "count"}},
		s.telemetry.Points(),
		s.tamiyo.Points(),
		s.health.Points(),
		s.fleet.Points(),
		s.durable.Points(ctx),
		s.jobs.Points(),
	} {
		points = append(points, measured...)
	}
	return points
}

func prefetchUnit(name string) string {
	if strings.HasSuffix(name, "_ms") {
		return "ms"
	}
	return "count"
}

// summaryPacket reports on the whole service.
func (s *Service) summaryPacket(ctx context.Context) *leyline.TelemetryPacket {
	return summary.Summary{
		Points: s.points(ctx), Workers: s.workers(), Alarms: s.health.Alarms(), Nissa: s.nissa.Status(),
		Emergency: s.emergency.Reason(), Mirror: &s.tamiyo,
	}.Packet()
}

// status is the body of /status.
func (s *Service) status(ctx context.Context) *status.Status {
	page := status.New(s.begun, s.workers(), s.bootTrace())
	if !s.booted.Load() {
		return page
	}
	page.State = "ready"
	if !s.accepting.Load() {
		page.State = "draining"
	} else if reason := s.notReady(ctx); reason != "" {
		page.State, page.Reason, page.SystemMode = "not_ready", reason, "degraded"
	}
	page.Bus, page.Instances = s.BusAddr(), s.fleet.Status()
	page.Alarms, page.Nissa, page.Signals = s.health.Alarms(), s.nissa.Status(), s.signals.Status()
	ctx, cancel := context.WithTimeout(ctx, metrics.BusTimeout)
	defer cancel()
	page.AddLibrary(ctx, s.library, s.forge.Result(), len(s.catalog.List()))
	page.AddBus(ctx, s.bus, s.busServer, streamTable(assembly.Streams(s.settings)))
	return page
}

// handler is what the HTTP side shows: it is up before there is anything to show.
func (s *Service) handler(listener net.Addr) http.Handler {
	return httpapi.Handler(httpapi.Config{
		Alive:    s.supervisor.Alive,
		NotReady: s.notReady,
		Status:   func(ctx context.Context) any { return s.status(ctx) },
		Booted:   s.booted.Load,
		Book:     func() httpapi.Book { return s.runs },
		Library:  func() httpapi.Library { return s.library },
		Metrics:  metrics.NewCollector(seriesTable(), s.measure),
		Token:    s.settings.Weatherlight.HTTPToken.Reveal(),
		Logger:   s.logger.With("part", "kernels"),
	}, listener)
}

// readyTimeout bounds the look at the bus of one readiness request.
const readyTimeout = time.Second

func (s *Service) notReady(ctx context.Context) string {
	if !s.booted.Load() {
		return "booting"
	}
	if !s.accepting.Load() {
		return "draining"
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if err := s.bus.Ping(ctx); err != nil {
		return "bus: " + err.Error()
	}
	if reason := s.health.Hindrance(); reason != "" {
		return reason
	}
	for _, stall := range s.bus.Stalls() { // they will be an alarm with the next look
		return fmt.Sprintf("%s of %s: %s", stall.Kind, stall.Stream, stall.Cause)
	}
	return ""
}

// LogStatus writes the whole status into the log.
func (s *Service) LogStatus(ctx context.Context) {
	s.logger.LogAttrs(ctx, slog.LevelInfo, "status", slog.Any("status", s.status(ctx)))
}
