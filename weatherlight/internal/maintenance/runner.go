// Package maintenance does the jobs of tidying up, once an interval.
//
// A [Runner] runs its [Job] list one after the other, whatever becomes of each, and counts
// what they came to. [Jobs] are those of a service; a [Scrubber] reads the kernels of its library
// again, at a pace of its own. The service owns one of each; [Series] explain the Runner's points.
package maintenance

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// errElsewhere says that another instance does a job: it is not counted.
var errElsewhere = errors.New("done by another instance")

// Job is one part of tidying up.
type Job struct {
	Name string
	Who  string // does it
	What string // it does, and what its result counts
	Do   Func
}

// Func does a job. It returns what that came to, by name.
type Func = func(context.Context) (map[string]float64, error)

// jobState is what is known of a job's runs.
type jobState struct {
	runs, failures int64
	took           time.Duration
	result         map[string]float64
}

// Config says when the jobs are done.
type Config struct {
	Clock    cadence.Clock
	Interval time.Duration
	Logger   *slog.Logger
}

// Runner runs its jobs once an interval. Each job stands alone: its error is counted and
// logged, and the next job still runs.
type Runner struct {
	config Config
	jobs   []Job

	mu     sync.Mutex
	states []jobState
}

// New does nothing until it runs.
func New(config Config, jobs []Job) *Runner {
	return &Runner{config: config, jobs: jobs, states: make([]jobState, len(jobs))}
}

// Run does the jobs once an interval until ctx is done.
func (r *Runner) Run(ctx context.Context) error {
	cadence.Every(ctx, r.config.Clock, r.config.Interval, r.Round)
	return nil
}

// Round does every job once.
func (r *Runner) Round(ctx context.Context) {
	for i, job := range r.jobs {
		if ctx.Err() != nil {
			return
		}
		begun := time.Now()
		result, err := job.Do(ctx)
		if errors.Is(err, errElsewhere) {
			continue
		}
		r.record(i, result, err, time.Since(begun))
		if err != nil {
			r.config.Logger.Warn("housekeeping failed", "chore", job.Name, "error", err)
		}
	}
}

func (r *Runner) record(i int, result map[string]float64, err error, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := &r.states[i]
	state.runs++
	state.took = took
	state.result = result
	if err != nil {
		state.failures++
	}
}

// Failures are how often each job failed.
func (r *Runner) Failures() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[string]int64, len(r.jobs))
	for i, job := range r.jobs {
		counts[job.Name] = r.states[i].failures
	}
	return counts
}

// Points report every job's runs, failures, duration and last result.
func (r *Runner) Points() []metrics.Point {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []metrics.Point
	for i, job := range r.jobs {
		state := r.states[i]
		label := []string{"chore", job.Name}
		points = append(points,
			metrics.Point{Name: "weatherlight.housekeeping.runs_total", Value: float64(state.runs), Unit: "count", Labels: label},
			metrics.Point{Name: "weatherlight.housekeeping.failures_total", Value: float64(state.failures), Unit: "count", Labels: label},
			metrics.Point{Name: "weatherlight.housekeeping.duration_ms", Value: state.took.Seconds() * 1e3, Unit: "ms", Labels: label})
		for _, name := range slices.Sorted(maps.Keys(state.result)) {
			points = append(points, metrics.Point{
				Name: "weatherlight.housekeeping.result", Value: state.result[name], Unit: "count",
				Labels: []string{"chore", job.Name, "item", name},
			})
		}
	}
	return points
}

// Series explain the points.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_housekeeping_runs_total", Labels: "chore", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Runs of the chore by this instance."},
		{Name: "weatherlight_housekeeping_failures_total", Labels: "chore", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Runs of the chore that failed."},
		{Name: "weatherlight_housekeeping_duration_ms", Labels: "chore", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the chore's last run."},
		{Name: "weatherlight_housekeeping_result", Labels: "chore,item", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "What the chore's last run came to; the list of chores has the items. Absent before the first run."},
	}
}
