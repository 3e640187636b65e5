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
	counts   map[string]float64
	events   []*leyline.TelemetryEvent

	conservative bool
	streak       int // conservative successes in a row
}

func newRecord(recovery int) *record {
	r := &record{recovery: recovery, counts: make(map[string]float64)}
	for _, name := range []string{
		"tezzeret.compilation.total", "tezzeret.compilation.failed", "tezzeret.compilation.failed_attempts",
		"tezzeret.compilation.eager_fallback", "tezzeret.compilation.last_compile_ms",
		"tezzeret.compilation.last_prewarm_ms", "tezzeret.jobs.total", "tezzeret.jobs.failed",
		"tezzeret.jobs.retried", "tezzeret.jobs.started", "tezzeret.jobs.completed",
		"tezzeret.breaker.open_total", "tezzeret.breaker.consecutive_failures",
		"tezzeret.compile.consecutive_failures", "tezzeret.mode.conservative",
	} {
		r.counts[name] = 0
	}
	return r
}

func (r *record) isConservative() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conservative
}

func (r *record) queued(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts["tezzeret.jobs.total"] += float64(n)
}

func (r *record) started(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts["tezzeret.jobs.started"]++
	r.add("tezzeret.compile_started", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, j.attributes())
}

func (r *record) attemptsFailed(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts["tezzeret.compilation.failed_attempts"] += float64(n)
	r.counts["tezzeret.compilation.total"] += float64(n)
	r.counts["tezzeret.compile.consecutive_failures"] += float64(n)
}

func (r *record) succeeded(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, strategy := j.compiled, j.strategy()
	r.counts["tezzeret.compilation.total"]++
	r.counts["tezzeret.jobs.completed"]++
	if j.failures > 0 {
		r.counts["tezzeret.jobs.retried"]++
	}
	r.counts["tezzeret.breaker.consecutive_failures"] = 0
	r.counts["tezzeret.compile.consecutive_failures"] = 0
	r.counts["tezzeret.compilation.last_compile_ms"] = c.CompileMs
	r.counts["tezzeret.compilation.last_prewarm_ms"] = c.PrewarmMs
	r.counts["tezzeret.compilation.duration_ms."+strategy] = c.CompileMs
	r.counts["tezzeret.prewarm.ms."+strategy] = c.PrewarmMs
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
	if r.conservative && r.streak >= r.recovery {
		r.conservative = false
	}
}

func (r *record) failed(j *job, kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streak = 0
	r.counts["tezzeret.compilation.failed"]++
	r.counts["tezzeret.jobs.failed"]++
	if j.failures > 1 {
		r.counts["tezzeret.jobs.retried"]++
	}
	r.counts["tezzeret.breaker.consecutive_failures"]++
	attributes := j.attributes()
	attributes["reason"] = kind
	attributes["error"] = j.err.Error()
	r.add("tezzeret.compile_failed", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, attributes)
}

// opened is called once for each time the circuit opens.
func (r *record) opened(openFor time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conservative, r.streak = true, 0
	r.counts["tezzeret.breaker.open_total"]++
	r.add("tezzeret.breaker_open", leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR, map[string]string{
		"backoff":  strconv.FormatFloat(openFor.Seconds(), 'f', -1, 64),
		"failures": strconv.FormatFloat(r.counts["tezzeret.breaker.consecutive_failures"], 'f', -1, 64),
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
