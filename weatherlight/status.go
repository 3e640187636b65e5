package weatherlight

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
)

// Status is the body of /status.
type Status struct {
	State      string             `json:"state"`
	Version    string             `json:"version"`
	UptimeS    float64            `json:"uptime_s"`
	Bus        string             `json:"bus"`
	SystemMode string             `json:"system_mode"`
	Boot       []BootStep         `json:"boot"`
	Workers    []WorkerStatus     `json:"workers"`
	Seeds      []SeedStatus       `json:"seeds"`
	Forge      *ForgeStatus       `json:"forge,omitempty"`
	BusMetrics map[string]float64 `json:"bus_metrics,omitempty"`
	Drops      []DropStatus       `json:"drops,omitempty"`
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

// SeedStatus is one seed.
type SeedStatus struct {
	SeedID  string             `json:"seed_id"`
	Stage   string             `json:"stage"`
	Metrics map[string]float32 `json:"metrics,omitempty"`
}

// ForgeStatus counts what the forge made of the catalogue.
type ForgeStatus struct {
	Compiled int `json:"compiled"`
	Present  int `json:"present"`
	Refused  int `json:"refused"`
	Failed   int `json:"failed"`
}

// DropStatus counts refused entries.
type DropStatus struct {
	Reason string `json:"reason"`
	Stream string `json:"stream"`
	Count  int64  `json:"count"`
}

func (s *Service) status(ctx context.Context) Status {
	status := Status{
		State:      "booting",
		Version:    version(),
		UptimeS:    time.Since(s.begun).Seconds(),
		SystemMode: s.workerHealth().mode(),
		Boot:       bootSteps(s.bootTrace()),
		Workers:    workerTable(s.supervisor.Status()),
		Seeds:      []SeedStatus{},
	}
	if !s.booted.Load() {
		return status
	}
	status.State = "ready"
	if !s.accepting.Load() {
		status.State = "draining"
	}
	status.Bus = s.BusAddr()
	status.Seeds = seedTable(s.seeds.SeedStates())
	result := s.forge.Result()
	status.Forge = &ForgeStatus{
		Compiled: len(result.Compiled), Present: len(result.Present),
		Refused: len(result.Refused), Failed: len(result.Failed),
	}
	ctx, cancel := context.WithTimeout(ctx, busMetricsTimeout)
	defer cancel()
	status.BusMetrics, _ = s.bus.Metrics(ctx) // A bus that is down gives what it has.
	for _, drop := range s.bus.Drops() {
		status.Drops = append(status.Drops, DropStatus{Reason: drop.Reason, Stream: drop.Stream, Count: drop.Count})
	}
	return status
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

func seedTable(seeds []*leyline.SeedState) []SeedStatus {
	table := make([]SeedStatus, len(seeds))
	for i, seed := range seeds {
		table[i] = SeedStatus{SeedID: seed.GetSeedId(), Stage: seed.GetStage().String(), Metrics: seed.GetMetrics()}
	}
	return table
}

// version is the module version that the binary was built from.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
