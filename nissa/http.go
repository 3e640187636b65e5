package nissa

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/esper-lite/weatherlight/internal/httpserver"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alertapi"
	"github.com/esper-lite/weatherlight/nissa/internal/api"
	"github.com/esper-lite/weatherlight/nissa/internal/letterapi"
	"github.com/esper-lite/weatherlight/nissa/internal/page"
	"github.com/esper-lite/weatherlight/nissa/internal/route"
	"github.com/esper-lite/weatherlight/supervise"
)

const probeTimeout = time.Second

// handler answers /healthz and /readyz and, behind a guard, /metrics and /api. The files of the page,
// there when runs are kept, are the same everywhere and tell nothing. Health says whether the process
// does its work, readiness whether what it shows is current.
func (s *Service) handler(guard httpserver.Guard) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.recorder.registry, promhttp.HandlerOpts{
		// One series that cannot be shown must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            slog.NewLogLogger(s.config.Logger.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: 4,
		// Packing 10,000 series takes as long as all the rest, and a scraper is near.
		DisableCompression: true,
		// Both by what a scraper asks for: OpenMetrics, with the times at which counts began.
		EnableOpenMetrics:                   true,
		EnableOpenMetricsTextCreatedSamples: true,
		Timeout:                             10 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", s.serveHealth)
	mux.HandleFunc("GET /readyz", s.serveReadiness)
	route.Register(mux, guard, s.routes())
	mux.HandleFunc("/api/", api.Elsewhere)
	open := []string{"/healthz", "/readyz"}
	if s.kept != nil {
		shown, paths := page.Handler(s.desk != nil)
		mux.Handle("/", shown)
		open = append(open, paths...)
	}
	return guard.Beyond(mux, open...)
}

// routes are those that the document of /api describes.
func (s *Service) routes() []route.Route {
	routes := append([]route.Route{api.Document()}, letterapi.Routes(letterapi.Config{
		Queue: s.config.Bus.DeadLetters(), Logger: s.config.Logger,
		Tell: func(ctx context.Context, packet *leyline.TelemetryPacket) error {
			return s.config.Bus.PublishTelemetry(ctx, packet, leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL)
		},
	})...)
	if s.desk != nil {
		routes = append(routes, alertapi.Routes(s.desk)...)
	}
	if s.kept != nil {
		routes = append(routes, api.Routes(api.Config{
			Store: s.kept.store, Now: s.config.Bus.Now, Stopping: s.ending, Logger: s.config.Logger,
		})...)
	}
	return routes
}

func (s *Service) serveHealth(w http.ResponseWriter, _ *http.Request) {
	workers := map[string]string{}
	healthy := true
	for _, status := range s.supervisor.Status() {
		workers[status.Name] = status.State.String()
		switch status.State {
		case supervise.Degraded, supervise.Failed, supervise.Abandoned:
			healthy = false
		}
	}
	if !healthy {
		respond(w, http.StatusServiceUnavailable, map[string]any{"status": "degraded", "workers": workers})
		return
	}
	respond(w, http.StatusOK, map[string]any{"status": "ok", "workers": workers})
}

func (s *Service) serveReadiness(w http.ResponseWriter, r *http.Request) {
	if err := s.ready(r.Context()); err != nil {
		respond(w, http.StatusServiceUnavailable, map[string]any{"status": "not_ready", "reason": err.Error()})
		return
	}
	respond(w, http.StatusOK, map[string]any{"status": "ready"})
}

// ready returns why what the service shows may be out of date, or nil.
func (s *Service) ready(ctx context.Context) error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	if missing := s.reading.missing(s.streams()); len(missing) > 0 {
		return fmt.Errorf("not reading %v yet", missing)
	}
	if health := s.config.Bus.Health(); health.ConsumeState == leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN {
		return fmt.Errorf("reading failed %d times in a row", health.ConsumeFailures)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if err := s.config.Bus.Ping(ctx); err != nil {
		return fmt.Errorf("bus does not answer: %w", err)
	}
	if s.kept == nil {
		return nil
	}
	return s.kept.store.Ping(ctx)
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client went away; nothing to tell it
}
