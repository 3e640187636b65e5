package forge

import (
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Stats are what a forge has compiled since it was made. An attempt is one compilation, a job
// one blueprint with all its attempts.
type Stats struct {
	Jobs                     JobStats
	Attempts                 AttemptStats
	CompileMs, PrewarmMs     float64            // of the last kernel
	CompileMsBy, PrewarmMsBy map[string]float64 // by strategy
	Running, Opened          int64              // compilations; times that the circuit opened
	Circuit                  leyline.CircuitBreakerState
	Conservative             bool
}

// JobStats count blueprints.
type JobStats struct {
	Queued, Started, Completed, Failed, Retried int64
	FailedInRow                                 int64
	Parked                                      int // by the last pass
}

// AttemptStats count compilations.
type AttemptStats struct{ Ended, Failed, FailedInRow int64 }

// Figures are the same as series.
func (s Stats) Figures() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Count("tezzeret.jobs.total", "Blueprints that a pass of the forge found to be compiled.", s.Jobs.Queued),
		telemetry.Count("tezzeret.jobs.started", "Blueprints whose compilation began.", s.Jobs.Started),
		telemetry.Count("tezzeret.jobs.completed", "Blueprints that were compiled and stored.", s.Jobs.Completed),
		telemetry.Count("tezzeret.jobs.failed", "Blueprints of which every attempt failed.", s.Jobs.Failed),
		telemetry.Count("tezzeret.jobs.retried", "Blueprints that took more than one attempt.", s.Jobs.Retried),
		telemetry.Measure("tezzeret.jobs.parked", "count",
			"Blueprints that the last pass left alone for a while: they failed before, or the process ended over them.", s.Jobs.Parked),
		telemetry.Count("tezzeret.compilation.total", "Attempts that came to their end.", s.Attempts.Ended),
		telemetry.Count("tezzeret.compilation.failed", "The same as tezzeret_jobs_failed.", s.Jobs.Failed),
		telemetry.Count("tezzeret.compilation.failed_attempts", "Attempts that failed.", s.Attempts.Failed),
		telemetry.Measure("tezzeret.compilation.eager_fallback", "count",
			"Always 0: nothing that was not compiled is served. The name is the prototype's.", 0),
		telemetry.Measure("tezzeret.compilation.last_compile_ms", "ms",
			"Time of building the last kernel, median of its runs.", s.CompileMs),
		telemetry.Measure("tezzeret.compilation.last_prewarm_ms", "ms", "Time of a first run of the last kernel, median.", s.PrewarmMs),
		telemetry.MeasureEach("tezzeret.compilation.duration_ms.<strategy>", "ms",
			"Time of building the last kernel of a strategy: standard, conservative. Absent before its first.", s.CompileMsBy),
		telemetry.MeasureEach("tezzeret.prewarm.ms.<strategy>", "ms", "Time of a first run of that kernel.", s.PrewarmMsBy),
		telemetry.Measure("tezzeret.compile.running", "count",
			"Compilations that have not returned, also those that were given up.", s.Running),
		telemetry.Measure("tezzeret.compile.consecutive_failures", "count", "Attempts that failed in a row.", s.Attempts.FailedInRow),
		telemetry.Measure("tezzeret.breaker.consecutive_failures", "count", "Blueprints that failed in a row.", s.Jobs.FailedInRow),
		telemetry.Measure("tezzeret.breaker.state", "state", "Circuit of the forge: 1 closed, 2 open, 3 half-open.", s.Circuit),
		telemetry.Count("tezzeret.breaker.open_total", "Times that the circuit opened.", s.Opened),
		telemetry.Is("tezzeret.mode.conservative",
			"1 while one blueprint is compiled at a time, by the conservative strategy, after the circuit had opened.", s.Conservative),
	}
}
