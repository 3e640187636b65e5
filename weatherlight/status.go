package weatherlight

import (
	"context"
	"encoding/json"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/version"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// SignalStatus is a segment of shared memory in which a trainer raises signals.
type SignalStatus = shmsignal.Status

// Status is the body of /status.
type Status struct {
	State      string              `json:"state"`
	Version    string              `json:"version"`
	Versions   map[string]string   `json:"versions"`
	UptimeS    float64             `json:"uptime_s"`
	Bus        string              `json:"bus"`
	SystemMode string              `json:"system_mode"`
	Alarms     []health.Alarm      `json:"alarms"`
	Boot       []BootStep          `json:"boot"`
	Workers    []WorkerStatus      `json:"workers"`
	LastErrors []ErrorStatus       `json:"last_errors"`
	Signals    []SignalStatus      `json:"signals,omitempty"`
	Streams    []StreamStatus      `json:"streams,omitempty"`
	Breakers   []BreakerStatus     `json:"breakers,omitempty"`
	Catalogue  *CatalogueStatus    `json:"catalogue,omitempty"`
	Forge      *ForgeStatus        `json:"forge,omitempty"`
	Instances  *fleet.Status       `json:"instances,omitempty"`
	Nissa      *health.NissaStatus `json:"nissa,omitempty"`
	BusMetrics map[string]float64  `json:"bus_metrics,omitempty"`
	Drops      []DropStatus        `json:"drops,omitempty"`
}

// BootStep is one step of the boot with its timing.
type BootStep struct {
	Step   string  `json:"step"`
	TookMs float64 `json:"took_ms"`
	Error  string  `json:"error,omitempty"`
}

// WorkerStatus is one worker's line in the status table.
type WorkerStatus struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Restarts    int        `json:"restarts"`
	BackoffS    float64    `json:"backoff_s,omitempty"`
	Circuit     string     `json:"circuit"`
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	UptimeS     float64    `json:"uptime_s"`
}

// ErrorStatus is the last error of one part.
type ErrorStatus struct {
	Part  string    `json:"part"`
	Error string    `json:"error"`
	At    time.Time `json:"at"`
}

// StreamStatus is one stream of the bus.
type StreamStatus struct {
	Role   string `json:"role"`
	Stream string `json:"stream"`
	// Depth is how many entries it holds, Lag how many of them the slowest live
	// group has not dealt with, TrimmedUnread how many were removed unread.
	Depth         int64 `json:"depth"`
	Lag           int64 `json:"lag"`
	TrimmedUnread int64 `json:"trimmed_unread,omitempty"`
}

// BreakerStatus is one circuit breaker between the service and what it uses.
type BreakerStatus struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Failures in a row, where the breaker tells.
	Failures int `json:"failures,omitempty"`
}

// CatalogueStatus counts blueprints: known to this version, and compiled into
// the kernel library.
type CatalogueStatus struct {
	Blueprints int `json:"blueprints"`
	Kernels    int `json:"kernels"`
}

// ForgeStatus counts what the forge made of the catalogue.
type ForgeStatus struct {
	Compiled int `json:"compiled"`
	Present  int `json:"present"`
	Refused  int `json:"refused"`
	Failed   int `json:"failed"`
	Parked   int `json:"parked"`
}

// DropStatus counts refused entries.
type DropStatus struct {
	Reason string `json:"reason"`
	Stream string `json:"stream"`
	Count  int64  `json:"count"`
}

func (s *Service) status(ctx context.Context) Status {
	workers, version := s.workers(), version.String()
	status := Status{
		State:      "booting",
		Version:    version,
		Versions:   map[string]string{"weatherlight": version, "go": runtime.Version()},
		UptimeS:    time.Since(s.begun).Seconds(),
		SystemMode: workers.Mode(),
		Alarms:     []health.Alarm{},
		Boot:       bootSteps(s.bootTrace()),
		Workers:    workerTable(workers.Table),
		LastErrors: lastErrors(workers.Table),
	}
	if !s.booted.Load() {
		return status
	}
	status.State = "ready"
	if !s.accepting.Load() {
		status.State = "draining"
	}
	status.Alarms = s.health.Alarms()
	status.Nissa = s.nissa.Status()
	status.Signals = s.signals.Status()
	ctx, cancel := context.WithTimeout(ctx, busMetricsTimeout)
	defer cancel()
	s.addLibrary(ctx, &status)
	s.addBus(ctx, &status)
	return status
}

func (s *Service) addLibrary(ctx context.Context, status *Status) {
	result := s.forge.Result()
	status.Forge = &ForgeStatus{
		Compiled: len(result.Compiled), Present: len(result.Present),
		Refused: len(result.Refused), Failed: len(result.Failed),
		Parked: len(result.Parked),
	}
	status.Breakers = append(status.Breakers, BreakerStatus{Name: "urza_library", State: breakerName(s.library.Breaker())})
	if kernels, err := s.library.Count(ctx); err == nil {
		status.Catalogue = &CatalogueStatus{Blueprints: len(s.catalog.List()), Kernels: kernels}
	}
}

func (s *Service) addBus(ctx context.Context, status *Status) {
	status.Bus = s.BusAddr()
	if s.busServer.Version != "" {
		status.Versions[s.busServer.Product] = s.busServer.Version
	}
	status.Instances = s.fleet.Status()
	bus := s.bus.Health()
	status.Breakers = append(status.Breakers,
		BreakerStatus{"oona_publish", breakerName(bus.PublishState), bus.PublishFailures},
		BreakerStatus{"oona_consume", breakerName(bus.ConsumeState), bus.ConsumeFailures})
	metrics, err := s.bus.Metrics(ctx)
	status.BusMetrics = metrics
	if err == nil { // A bus that is down gives what it has: no depths.
		status.Streams = streamTable(s.busConfig().Streams, metrics)
	}
	for _, drop := range s.bus.Drops() {
		status.Drops = append(status.Drops, DropStatus{Reason: drop.Reason, Stream: drop.Stream, Count: drop.Count})
	}
}

func breakerName(state leyline.CircuitBreakerState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "CIRCUIT_STATE_"))
}

func streamTable(streams oona.Streams, metrics map[string]float64) []StreamStatus {
	var table []StreamStatus
	for _, role := range []string{
		roleNormal, roleEmergency, roleTelemetry, rolePolicy,
		roleKernelRequests, roleKernelReady, roleKernelErrors, roleDeadLetters,
	} {
		table = append(table, StreamStatus{
			Role: role, Stream: streamIn(role, streams),
			Depth:         int64(metrics["queue_depth_"+role]),
			Lag:           int64(metrics["queue_backlog_"+role]),
			TrimmedUnread: int64(metrics["trimmed_unread_total."+role]),
		})
	}
	return table
}

func bootSteps(trace []supervise.Trace) []BootStep {
	steps := make([]BootStep, len(trace))
	for i, step := range trace {
		steps[i] = BootStep{Step: step.Step, TookMs: step.Took.Seconds() * 1e3}
		if step.Err != nil {
			steps[i].Error = step.Err.Error()
		}
	}
	return steps
}

func workerTable(workers []supervise.Status) []WorkerStatus {
	table := make([]WorkerStatus, len(workers))
	for i, worker := range workers {
		table[i] = WorkerStatus{
			Name: worker.Name, State: worker.State.String(), Restarts: worker.Restarts,
			BackoffS: worker.Backoff.Seconds(), Circuit: worker.Circuit.String(),
			LastError: worker.LastError, UptimeS: worker.Uptime.Seconds(),
		}
		if !worker.LastErrorAt.IsZero() {
			at := worker.LastErrorAt
			table[i].LastErrorAt = &at
		}
	}
	return table
}

// lastErrors are those of the workers, the newest first, however long ago.
func lastErrors(workers []supervise.Status) []ErrorStatus {
	errors := []ErrorStatus{}
	for _, worker := range workers {
		if !worker.LastErrorAt.IsZero() {
			errors = append(errors, ErrorStatus{Part: worker.Name, Error: worker.LastError, At: worker.LastErrorAt})
		}
	}
	slices.SortStableFunc(errors, func(a, b ErrorStatus) int { return b.At.Compare(a.At) })
	return errors
}

// String is the status as JSON, for logs that know no structure.
func (s Status) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "status: " + err.Error()
	}
	return string(text)
}

// LogStatus writes the whole status into the log.
func (s *Service) LogStatus(ctx context.Context) {
	s.logger.LogAttrs(ctx, slog.LevelInfo, "status", slog.Any("status", s.status(ctx)))
}
