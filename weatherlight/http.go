package weatherlight

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/esper-lite/weatherlight/weatherlight/internal/httpapi"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

const (
	// readyTimeout bounds the look at the bus of one readiness request.
	readyTimeout = time.Second
	// aliveTimeout bounds the wait for the supervisor's sign of life.
	aliveTimeout = time.Second
)

func (s *Service) routes(listener net.Addr) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(metrics.NewCollector(seriesTable(), s.measure))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.serveHealth)
	mux.HandleFunc("GET /readyz", s.serveReady)
	mux.HandleFunc("GET /status", s.serveStatus)
	s.trainerRoutes(mux, listener)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// serveHealth says that the process is alive: it answers, and its supervisor
// still turns.
func (s *Service) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), aliveTimeout)
	defer cancel()
	if !s.alive(ctx) {
		httpapi.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "supervisor does not answer"})
		return
	}
	httpapi.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// serveReady says whether the service may be given work.
func (s *Service) serveReady(w http.ResponseWriter, r *http.Request) {
	if reason := s.notReady(r.Context()); reason != "" {
		httpapi.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": reason})
		return
	}
	httpapi.WriteJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

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
	return ""
}

func (s *Service) serveStatus(w http.ResponseWriter, r *http.Request) {
	httpapi.WriteJSON(w, http.StatusOK, s.status(r.Context()))
}

// trainerRoutes are what trainers and those who look after them ask for. On a
// listener that other machines reach they need the token.
func (s *Service) trainerRoutes(mux *http.ServeMux, listener net.Addr) {
	guarded := func(next http.Handler) http.Handler {
		return httpapi.Guard(listener, s.settings.Weatherlight.HTTPToken.Reveal(), s.onceBooted(next))
	}
	// What they are about is there once the service is booted.
	runs := whenAsked(func() http.Handler { return httpapi.Runs(s.runs) })
	mux.Handle("GET /runs", guarded(runs))
	mux.Handle("GET /runs/{run}", guarded(runs))
	logger := s.logger.With("part", "kernels")
	mux.Handle(httpapi.Path, guarded(whenAsked(func() http.Handler { return httpapi.Kernels(s.library, logger) })))
}

// whenAsked makes a handler at its first request.
func whenAsked(newHandler func() http.Handler) http.Handler {
	handler := sync.OnceValue(newHandler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler().ServeHTTP(w, r) })
}

func (s *Service) onceBooted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.booted.Load() {
			httpapi.WriteJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "booting"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
