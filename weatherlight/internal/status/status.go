// Package status is the page on which a service tells what it is and what it uses.
//
// [New] begins a [Status] with what is known at any time; AddLibrary and AddBus tell of what is
// there once the service is booted, a [Stream] for each role. The service serves it as /status
// and writes it into its log.
package status

import (
	"context"
	"encoding/json"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/internal/version"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/admin"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/internal/nissawatch"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// Status is the body of /status.
type Status struct {
	State      string             `json:"state"`
	Reason     string             `json:"reason,omitempty"` // that it is not ready
	Version    string             `json:"version"`
	Versions   map[string]string  `json:"versions"`
	UptimeS    float64            `json:"uptime_s"`
	Bus        string             `json:"bus"`
	SystemMode string             `json:"system_mode"`
	Alarms     []health.Alarm     `json:"alarms"`
	Boot       []bootStep         `json:"boot"`
	Workers    []worker           `json:"workers"`
	LastErrors []partError        `json:"last_errors"`
	Signals    []shmsignal.Status `json:"signals,omitempty"`
	Streams    []Stream           `json:"streams,omitempty"`
	Breakers   []breaker          `json:"breakers,omitempty"`
	Catalogue  *catalogue         `json:"catalogue,omitempty"`
	Forge      *forged            `json:"forge,omitempty"`
	Instances  *fleet.Status      `json:"instances,omitempty"`
	Nissa      *nissawatch.Status `json:"nissa,omitempty"`
	BusMetrics map[string]float64 `json:"bus_metrics,omitempty"`
	Drops      []drop             `json:"drops,omitempty"`
}

// bootStep is one step of the boot with its timing.
type bootStep struct {
	Step   string  `json:"step"`
	TookMs float64 `json:"took_ms"`
	Error  string  `json:"error,omitempty"`
}

// worker is one worker's line in the status table.
type worker struct {
	Name        string     `json:"name"`
	State       string     `json:"state"`
	Restarts    int        `json:"restarts"`
	BackoffS    float64    `json:"backoff_s,omitempty"`
	Circuit     string     `json:"circuit"`
	LastError   string     `json:"last_error,omitempty"`
	LastErrorAt *time.Time `json:"last_error_at,omitempty"`
	UptimeS     float64    `json:"uptime_s"`
}

// partError is the last error of one part.
type partError struct {
	Part  string    `json:"part"`
	Error string    `json:"error"`
	At    time.Time `json:"at"`
}

// Stream is one stream of the bus.
type Stream struct {
	Role   string `json:"role"`
	Stream string `json:"stream"`
	// Depth is how many entries it holds, Lag how many of them the slowest live
	// group has not dealt with, TrimmedUnread how many were removed unread.
	Depth         int64  `json:"depth"`
	Lag           int64  `json:"lag"`
	Slowest       string `json:"slowest_group,omitempty"` // that is so far behind
	TrimmedUnread int64  `json:"trimmed_unread,omitempty"`
}

// breaker is one circuit breaker between the service and what it uses.
type breaker struct {
	Name  string `json:"name"`
	State string `json:"state"`
	// Failures in a row, where the breaker tells.
	Failures int `json:"failures,omitempty"`
}

// catalogue counts blueprints: known to this version, and compiled into
// the kernel library.
type catalogue struct {
	Blueprints int `json:"blueprints"`
	Kernels    int `json:"kernels"`
}

// forged counts what the forge made of the catalogue.
type forged struct {
	Compiled int `json:"compiled"`
	Present  int `json:"present"`
	Refused  int `json:"refused"`
	Failed   int `json:"failed"`
	Parked   int `json:"parked"`
}

// drop counts refused entries.
type drop struct {
	Reason string `json:"reason"`
	Stream string `json:"stream"`
	Count  int64  `json:"count"`
}

// New is the status of a service that boots.
func New(begun time.Time, workers health.Workers, boot []supervise.Trace) *Status {
	version := version.String()
	return &Status{
		State:      "booting",
		Version:    version,
		Versions:   map[string]string{"weatherlight": version, "go": runtime.Version()},
		UptimeS:    rounded(time.Since(begun).Seconds()),
		SystemMode: workers.Mode(),
		Alarms:     []health.Alarm{},
		Boot:       bootSteps(boot),
		Workers:    workerTable(workers.Table),
		LastErrors: lastErrors(workers.Table),
	}
}

// AddLibrary tells of the kernel library and of the forge that fills it. A library that does
// not answer leaves its count out.
func (s *Status) AddLibrary(ctx context.Context, library *urza.Library, made forge.Result, blueprints int) {
	s.Forge = &forged{
		Compiled: len(made.Compiled), Present: len(made.Present),
		Refused: len(made.Refused), Failed: len(made.Failed),
		Parked: len(made.Parked),
	}
	s.Breakers = append(s.Breakers, breaker{Name: "urza_library", State: breakerName(library.Stats().Queries.Circuit)})
	if kernels, err := library.Count(ctx); err == nil {
		s.Catalogue = &catalogue{Blueprints: blueprints, Kernels: kernels}
	}
}

// AddBus tells of the bus and of its server as it was at the boot. streams name the
// streams by their roles; a bus that is down leaves them out.
func (s *Status) AddBus(ctx context.Context, bus *oona.Client, server admin.Server, streams []Stream) {
	if server.Version != "" {
		s.Versions[server.Product] = server.Version
	}
	health := bus.Health()
	s.Breakers = append(s.Breakers,
		breaker{"oona_publish", breakerName(health.PublishState), health.PublishFailures},
		breaker{"oona_consume", breakerName(health.ConsumeState), health.ConsumeFailures})
	stats, err := bus.Stats(ctx)
	s.BusMetrics = telemetry.Values(stats.Figures(), "oona.")
	for name, value := range s.BusMetrics {
		s.BusMetrics[name] = rounded(value)
	}
	if err == nil {
		s.Streams = measured(streams, stats.Streams)
	}
	for _, refused := range bus.Drops() {
		s.Drops = append(s.Drops, drop{Reason: refused.Reason, Stream: refused.Stream, Count: refused.Count})
	}
}

func breakerName(state leyline.CircuitBreakerState) string {
	return strings.ToLower(strings.TrimPrefix(state.String(), "CIRCUIT_STATE_"))
}

// measured fills in what the bus says of its streams, by their roles.
func measured(streams []Stream, stats map[string]oona.StreamStats) []Stream {
	table := slices.Clone(streams)
	for i, stream := range table {
		known := stats[stream.Role]
		table[i].Depth, table[i].Lag, table[i].TrimmedUnread = known.Depth, known.Backlog, known.Lost
		table[i].Slowest = known.Slowest
	}
	return table
}

// rounded leaves three decimals: nobody reads more.
func rounded(value float64) float64 { return math.Round(value*1e3) / 1e3 }

func bootSteps(trace []supervise.Trace) []bootStep {
	steps := make([]bootStep, len(trace))
	for i, step := range trace {
		steps[i] = bootStep{Step: step.Step, TookMs: rounded(step.Took.Seconds() * 1e3)}
		if step.Err != nil {
			steps[i].Error = step.Err.Error()
		}
	}
	return steps
}

func workerTable(statuses []supervise.Status) []worker {
	table := make([]worker, len(statuses))
	for i, status := range statuses {
		table[i] = worker{
			Name: status.Name, State: status.State.String(), Restarts: status.Restarts,
			BackoffS: rounded(status.Backoff.Seconds()), Circuit: status.Circuit.String(),
			LastError: status.LastError, UptimeS: rounded(status.Uptime.Seconds()),
		}
		if !status.LastErrorAt.IsZero() {
			at := status.LastErrorAt
			table[i].LastErrorAt = &at
		}
	}
	return table
}

// lastErrors are those of the workers, the newest first, however long ago.
func lastErrors(workers []supervise.Status) []partError {
	errors := []partError{}
	for _, worker := range workers {
		if !worker.LastErrorAt.IsZero() {
			errors = append(errors, partError{Part: worker.Name, Error: worker.LastError, At: worker.LastErrorAt})
		}
	}
	slices.SortStableFunc(errors, func(a, b partError) int { return b.At.Compare(a.At) })
	return errors
}

// String is the status as JSON, for logs that know no structure.
func (s *Status) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return "status: " + err.Error()
	}
	return string(text)
}
