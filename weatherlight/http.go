package weatherlight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/esper-lite/weatherlight/supervise"
)

const (
	// httpHeaderTimeout ends connections that never ask for anything.
	httpHeaderTimeout = 5 * time.Second
	// httpCloseTimeout bounds the wait for requests under way at stop.
	httpCloseTimeout = time.Second
	// readyTimeout bounds the look at the bus of one readiness request.
	readyTimeout = time.Second
	// aliveTimeout bounds the wait for the supervisor's sign of life.
	aliveTimeout = time.Second
)

// httpWorker serves the operator's side. Its first run serves the listener that
// the boot opened; a restart opens the same address again.
func (s *Service) httpWorker() supervise.Spec {
	listener := s.listener
	run := func(ctx context.Context) error {
		open := listener
		listener = nil
		if open == nil {
			var config net.ListenConfig
			var err error
			if open, err = config.Listen(ctx, "tcp", s.HTTPAddr()); err != nil {
				return fmt.Errorf("listen again: %w", err)
			}
		}
		return s.serveHTTP(ctx, open)
	}
	return supervise.Spec{Name: workerHTTP, Worker: supervise.WorkerFunc(run)}
}

func (s *Service) serveHTTP(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.routes(listener.Addr()),
		ReadHeaderTimeout: httpHeaderTimeout,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	// ctx is done, so the wait for requests under way needs its own bound.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpCloseTimeout)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		_ = server.Close() // What is left after the bound is cut off.
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http: %w", err)
	}
	return nil
}

func (s *Service) routes(listener net.Addr) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(newCollector(s))
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
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "supervisor does not answer"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// serveReady says whether the service may be given work.
func (s *Service) serveReady(w http.ResponseWriter, r *http.Request) {
	if reason := s.notReady(r.Context()); reason != "" {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": reason})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
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
	writeJSON(w, http.StatusOK, s.status(r.Context()))
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // The client has gone: there is nobody to tell.
}
