package forge

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// maxEvents bounds the events kept between two packets; the oldest go first.
const maxEvents = 256

// record counts what a forge does and keeps its events.
type record struct {
	mu       sync.Mutex
	recovery int
	stats    Stats // but what is asked of the forge
	events   []*leyline.TelemetryEvent
	streak   int // conservative successes in a row
}

func newRecord(recovery int) *record {
	return &record{recovery: recovery, stats: Stats{CompileMsBy: make(map[string]float64), PrewarmMsBy: make(map[string]float64)}}
}

func (r *record) isConservative() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats.Conservative
}

func (r *record) queued(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Jobs.Queued += int64(n)
}

func (r *record) started(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Jobs.Started++
	r.add("tezzeret.compile_started", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, j.attributes())
}

func (r *record) attemptsFailed(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Attempts.Failed += int64(n)
	r.stats.Attempts.Ended += int64(n)
	r.stats.Attempts.FailedInRow += int64(n)
}

func (r *record) succeeded(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, strategy := j.compiled, j.strategy()
	r.stats.Attempts.Ended++
	r.stats.Jobs.Completed++
	if j.failures > 0 {
		r.stats.Jobs.Retried++
	}
	r.stats.Jobs.FailedInRow, r.stats.Attempts.FailedInRow = 0, 0
	r.stats.CompileMs, r.stats.PrewarmMs = c.CompileMs, c.PrewarmMs
	r.stats.CompileMsBy[strategy], r.stats.PrewarmMsBy[strategy] = c.CompileMs, c.PrewarmMs
	attributes := j.attributes()
	attributes["compile_ms"] = fmt.Sprintf("%.2f", c.CompileMs)
	attributes["prewarm_ms"] = fmt.Sprintf("%.2f", c.PrewarmMs)
	r.add("tezzeret.compile_succeeded", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, attributes)
	if j.conservative {
		r.countRecovery()
	}
}

// countRecovery ends conservative mode after enough of its successes in a row: one
// could be luck, and one from before the circuit opened says nothing.
func (r *record) countRecovery() {
	r.streak++
	if r.stats.Conservative && r.streak >= r.recovery {
		r.stats.Conservative = false
	}
}

func (r *record) failed(j *job, kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streak = 0
	r.stats.Jobs.Failed++
	if j.failures > 1 {
		r.stats.Jobs.Retried++
	}
	r.stats.Jobs.FailedInRow++
	attributes := j.attributes()
	attributes["reason"] = kind
	attributes["error"] = j.err.Error()
	r.add("tezzeret.compile_failed", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, attributes)
}

// opened is called once for each time the circuit opens.
func (r *record) opened(openFor time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Conservative, r.streak = true, 0
	r.stats.Opened++
	r.add("tezzeret.breaker_open", leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR, map[string]string{
		"backoff":  strconv.FormatFloat(openFor.Seconds(), 'f', -1, 64),
		"failures": strconv.FormatInt(r.stats.Jobs.FailedInRow, 10),
	})
}

func (r *record) skipped(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add("tezzeret.breaker_open_skip", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
		map[string]string{"blueprint_id": j.descriptor.GetBlueprintId()})
}

func (r *record) add(description string, level leyline.TelemetryLevel, attributes map[string]string) {
	if len(r.events) >= maxEvents {
		r.events = r.events[1:]
	}
	r.events = append(r.events, &leyline.TelemetryEvent{
		Description: description, Level: level, Attributes: attributes,
	})
}

// drain returns the events since the last drain.
func (r *record) drain() []*leyline.TelemetryEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	drained := r.events
	r.events = nil
	return drained
}

// strategy is the name of how a job is compiled.
func (j *job) strategy() string {
	if j.conservative {
		return "conservative"
	}
	return "standard"
}

func (j *job) attributes() map[string]string {
	return map[string]string{"blueprint_id": j.descriptor.GetBlueprintId(), "strategy": j.strategy()}
}
