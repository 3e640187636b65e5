package weatherlight

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// errElsewhere says that another instance does a chore.
var errElsewhere = errors.New("done by another instance")

// chore is one part of housekeeping. It returns what it came to, by name.
type chore struct {
	name string
	who  string // does it
	what string // it does, and what its result counts
	do   choreFunc
}

type choreFunc = func(context.Context) (map[string]float64, error)

// choreState is what is known of a chore's runs.
type choreState struct {
	runs, failures int64
	took           time.Duration
	lastError      string
	result         map[string]float64
}

// housekeeper runs its chores once an interval. Each chore stands alone: its
// error is counted and logged, and the next chore still runs.
type housekeeper struct {
	interval time.Duration
	rhythm   oona.Rhythm
	logger   *slog.Logger
	chores   []chore

	mu     sync.Mutex
	states []choreState
}

func newHousekeeper(interval time.Duration, logger *slog.Logger, chores []chore) *housekeeper {
	return &housekeeper{interval: interval, logger: logger, chores: chores, states: make([]choreState, len(chores))}
}

// Run does the chores once an interval until ctx is done.
func (h *housekeeper) Run(ctx context.Context) error {
	every(ctx, h.rhythm, h.interval, h.round)
	return nil
}

func (h *housekeeper) round(ctx context.Context) {
	for i, chore := range h.chores {
		if ctx.Err() != nil {
			return
		}
		begun := time.Now()
		result, err := chore.do(ctx)
		if errors.Is(err, errElsewhere) {
			continue
		}
		h.record(i, result, err, time.Since(begun))
		if err != nil {
			h.logger.Warn("housekeeping failed", "chore", chore.name, "error", err)
		}
	}
}

func (h *housekeeper) record(i int, result map[string]float64, err error, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	state := &h.states[i]
	state.runs++
	state.took = took
	state.result = result
	if err != nil {
		state.failures++
		state.lastError = err.Error()
	}
}

// failures are how often each chore failed.
func (h *housekeeper) failures() map[string]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := make(map[string]int64, len(h.chores))
	for i, chore := range h.chores {
		counts[chore.name] = h.states[i].failures
	}
	return counts
}

// points report every chore's runs, failures, duration and last result.
func (h *housekeeper) points() []metrics.Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	var points []metrics.Point
	for i, chore := range h.chores {
		state := h.states[i]
		label := []string{"chore", chore.name}
		points = append(points,
			metrics.Point{Name: "weatherlight.housekeeping.runs_total", Value: float64(state.runs), Unit: "count", Labels: label},
			metrics.Point{Name: "weatherlight.housekeeping.failures_total", Value: float64(state.failures), Unit: "count", Labels: label},
			metrics.Point{Name: "weatherlight.housekeeping.duration_ms", Value: state.took.Seconds() * 1e3, Unit: "ms", Labels: label})
		for _, name := range sortedNames(state.result) {
			points = append(points, metrics.Point{
				Name: "weatherlight.housekeeping.result", Value: state.result[name], Unit: "count",
				Labels: []string{"chore", chore.name, "item", name},
			})
		}
	}
	return points
}
