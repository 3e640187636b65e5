// Package maintenance does the jobs of tidying up, once an interval.
//
// A [Runner] runs its [Job] list one after the other, whatever becomes of each, and counts
// what they came to. [Jobs] are those of a service; a [Scrubber] reads the kernels of its library
// again, at a pace of its own. The service owns one of each.
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
	inHand string    // the job that is being done, "" when none is
	since  time.Time // it is
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
		begun := r.begin(job.Name)
		result, err := job.Do(ctx)
		r.begin("")
		if errors.Is(err, errElsewhere) {
			continue
		}
		r.record(i, result, err, time.Since(begun))
		if err != nil {
			r.config.Logger.Warn("housekeeping failed", "task", job.Name, "error", err)
		}
	}
}

// begin notes which job is being done from now on.
func (r *Runner) begin(job string) (now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inHand, r.since = job, time.Now()
	return r.since
}

// InHand is the job that is being done, and since when; zero when none is.
func (r *Runner) InHand() (job string, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inHand == "" {
		return "", time.Time{}
	}
	return r.inHand, r.since
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

// Figures report every job's runs, failures, duration and last result.
func (r *Runner) Figures() []telemetry.Figure {
	r.mu.Lock()
	defer r.mu.Unlock()
	var figures []telemetry.Figure
	for i, job := range r.jobs {
		figures = append(figures, r.states[i].figures(job.Name)...)
	}
	return figures
}

func (s jobState) figures(job string) []telemetry.Figure {
	results := telemetry.MeasureEach[int]("weatherlight.housekeeping.result{item,task}", "count",
		"What the task's last run came to; the list of tasks has the items. Absent before the first run.", nil)
	for _, item := range slices.Sorted(maps.Keys(s.result)) {
		results = results.With(s.result[item], item, job)
	}
	return []telemetry.Figure{
		telemetry.Count("weatherlight.housekeeping.runs_total{task}", "Runs of the task by this instance.", s.runs, job),
		telemetry.Count("weatherlight.housekeeping.failures_total{task}", "Runs of the task that failed.", s.failures, job),
		telemetry.Measure("weatherlight.housekeeping.duration_ms{task}", "ms",
			"Time of the task's last run.", s.took.Seconds()*1e3, job),
		results,
	}
}
