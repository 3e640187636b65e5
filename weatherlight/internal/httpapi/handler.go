// Package httpapi is what Weatherlight serves by HTTP.
//
// [Handler] serves all of it, from a [Config] of functions: health, readiness, status and
// metrics to operators, the records of runs from a [Book] and kernels from a [Library] to trainers
// and those who look after them. The guard keeps others out where the listener can be reached from
// other machines. The service has one on its listener, which bounds how long a request may take to come.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/esper-lite/weatherlight/internal/httpserver"
)

const (
	// aliveTimeout bounds the wait for the supervisor's sign of life.
	aliveTimeout = time.Second
	// maxScrapes bounds how many pages of figures are made at a time, and scrapeTimeout how
	// long one may take.
	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second
)

// Config is what a service shows. The functions are asked at each request; Book and Library
// once, at the first request after the boot.
type Config struct {
	// Alive reports whether the supervisor answers, as long as its context lasts.
	Alive func(context.Context) bool
	// NotReady is why the service takes no work, or empty.
	NotReady func(context.Context) string
	// Status is the body of /status.
	Status func(context.Context) any
	// Booted says that there are a Book and a Library.
	Booted  func() bool
	Book    func() Book
	Library func() Library
	// Metrics is shown on /metrics beside the figures of the process.
	Metrics prometheus.Collector
	Logger  *slog.Logger
}

// Handler serves all that a service serves: /healthz and /readyz to everybody, and behind the guard
// what there is at /, /status, /metrics, /runs and /kernels/.
func Handler(config Config, guard httpserver.Guard) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(config.Metrics)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePaths)
	mux.HandleFunc("GET /healthz", config.serveHealth)
	mux.HandleFunc("GET /readyz", config.serveReady)
	mux.HandleFunc("GET /status", config.serveStatus)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout}))

	runs := config.onceBooted(func() http.Handler { return newRuns(config.Book()) })
	mux.Handle("GET /runs", runs)
	mux.Handle("GET /runs/{run}", runs)
	mux.Handle(path, config.onceBooted(func() http.Handler { return newKernels(config.Library(), config.Logger) }))
	return guard.Beyond(mux, "/healthz", "/readyz")
}

// servePaths says what there is, to who came by the address alone.
func servePaths(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{
		"/healthz":          "the process is alive",
		"/readyz":           "it may be given work",
		"/status":           "all about the service",
		"/metrics":          "figures for Prometheus",
		"/runs":             "names of training runs",
		"/runs/{run}":       "what is known of one",
		"/kernels/{sha256}": "a kernel, for trainers",
	})
}

// serveHealth says that the process is alive: it answers, and its supervisor
// still turns.
func (c Config) serveHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), aliveTimeout)
	defer cancel()
	if !c.Alive(ctx) {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "supervisor does not answer"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// serveReady says whether the service may be given work.
func (c Config) serveReady(w http.ResponseWriter, r *http.Request) {
	if reason := c.NotReady(r.Context()); reason != "" {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable", "reason": reason})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (c Config) serveStatus(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, c.Status(r.Context()))
}

// onceBooted makes a handler at the first request after the boot: what it is about is there then.
func (c Config) onceBooted(newHandler func() http.Handler) http.Handler {
	handler := sync.OnceValue(newHandler)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !c.Booted() {
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "booting"})
			return
		}
		handler().ServeHTTP(w, r)
	})
}
