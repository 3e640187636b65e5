package weatherlight

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/assembly"
	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/status"
	"github.com/esper-lite/weatherlight/weatherlight/internal/summary"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

// series are the figures of /metrics. Kasmina's are among them, which on the bus
// travel in its own packets.
func (s *Service) series(ctx context.Context) []telemetry.Figure {
	return slices.Concat(metrics.Built(), s.figures(ctx), s.runs.Figures())
}

// measure is what a scrape shows. Before the boot is over there is nothing to measure.
func (s *Service) measure() ([]telemetry.Figure, []oona.Histogram) {
	if !s.booted.Load() {
		return metrics.Built(), nil
	}
	return s.series(context.Background()), s.bus.Histograms() // a collector carries no context; OfBus bounds what it asks
}

// figures measures everything of the summary packet at once. What cannot be asked is
// left out.
func (s *Service) figures(ctx context.Context) []telemetry.Figure {
	return slices.Concat(
		uptime(time.Since(s.begun)),
		s.workers().Figures(),
		telemetry.ByName(s.prefetcher.Stats().Figures()),
		telemetry.Bare(s.library.Stats().Figures()),
		metrics.OfBus(ctx, s.bus),
		s.signals.Figures(),
		s.emergency.Figures(),
		telemetry.Bare(s.forge.Stats().Figures()),
		telemetry.Bare(s.catalog.Stats().Figures()),
		s.reports.Figures(),
		s.policies.Figures(),
		s.telemetry.Figures(),
		s.tamiyo.Figures(),
		s.health.Figures(),
		s.fleet.Figures(),
		telemetryqueue.Waiting(s.durable.Outbox.Waiting(ctx)),
		s.jobs.Figures(),
	)
}

func uptime(since time.Duration) []telemetry.Figure {
	return []telemetry.Figure{telemetry.Measure("weatherlight.uptime_s", "seconds", "Time since the start.", since.Seconds())}
}

// summaryPacket reports on the whole service.
func (s *Service) summaryPacket(ctx context.Context) *leyline.TelemetryPacket {
	return summary.Summary{
		Instance: s.instance(), Figures: s.figures(ctx), Workers: s.workers(), Alarms: s.health.Alarms(), Nissa: s.nissa.Status(),
		Boot: s.bootLog.Booted(), Emergency: s.emergency.Reason(), Mirror: &s.tamiyo, Exposed: s.http != nil,
	}.Packet()
}

// status is the body of /status.
func (s *Service) status(ctx context.Context) *status.Status {
	page := status.New(s.begun, s.workers(), s.bootLog.Steps())
	if !s.booted.Load() {
		page.Reason, page.SystemMode = s.bootLog.Booting(), "degraded"
		return page
	}
	bus, cancel := context.WithTimeout(ctx, metrics.BusTimeout) // for all that it is asked: a silent one is told soon
	defer cancel()
	page.State = "ready"
	if !s.accepting.Load() {
		page.State, page.SystemMode = "draining", "degraded"
	} else if reason := s.notReady(bus); reason != "" {
		page.State, page.Reason, page.SystemMode = "not_ready", reason, "degraded"
	}
	page.Bus, page.Instances = s.BusAddr(), s.fleet.Status()
	page.Alarms, page.Nissa, page.Signals = s.health.Alarms(), s.nissa.Status(), s.signals.Status()
	library, end := context.WithTimeout(ctx, metrics.BusTimeout)
	defer end()
	page.AddLibrary(library, s.library, s.forge.Result(), len(s.catalog.List()))
	page.AddBus(bus, s.bus, s.busServer, streamTable(assembly.Streams(s.settings)))
	return page
}

// handler is what the HTTP side shows: it is up before there is anything to show.
func (s *Service) handler(guard httpserver.Guard) http.Handler {
	return httpapi.Handler(httpapi.Config{
		Alive:    s.supervisor.Alive,
		NotReady: s.notReady,
		Status:   func(ctx context.Context) any { return s.status(ctx) },
		Booted:   s.booted.Load,
		Book:     func() httpapi.Book { return s.runs },
		Library:  func() httpapi.Library { return s.library },
		Metrics:  metrics.NewCollector(s.measure),
		Logger:   s.logger.With("part", "kernels"),
	}, guard)
}

// readyTimeout bounds the look at the bus of one readiness request.
const readyTimeout = time.Second

func (s *Service) notReady(ctx context.Context) string {
	if !s.booted.Load() {
		return s.bootLog.Booting()
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
