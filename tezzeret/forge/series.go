package forge

import "github.com/esper-lite/weatherlight/telemetry"

// Series tell what the forge compiled. An attempt is one compilation, a job one blueprint
// with all its attempts. Their names are those of Forge.Metrics.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "tezzeret_jobs_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Blueprints that a pass of the forge found to be compiled."},
		{Name: "tezzeret_jobs_started", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints whose compilation began."},
		{Name: "tezzeret_jobs_completed", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints that were compiled and stored."},
		{Name: "tezzeret_jobs_failed", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints of which every attempt failed."},
		{Name: "tezzeret_jobs_retried", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Blueprints that took more than one attempt."},
		{Name: "tezzeret_jobs_parked", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Blueprints that the last pass left alone for a while: they failed before, or the process ended over them."},
		{Name: "tezzeret_compilation_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Attempts that came to their end."},
		{Name: "tezzeret_compilation_failed", Kind: telemetry.Rising, Unit: "count",
			Meaning: "The same as tezzeret_jobs_failed."},
		{Name: "tezzeret_compilation_failed_attempts", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Attempts that failed."},
		{Name: "tezzeret_compilation_eager_fallback", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Always 0: nothing that was not compiled is served. The name is the prototype's."},
		{Name: "tezzeret_compilation_last_compile_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of building the last kernel, median of its runs."},
		{Name: "tezzeret_compilation_last_prewarm_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of a first run of the last kernel, median."},
		{Name: "tezzeret_compilation_duration_ms_<strategy>", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of building the last kernel of a strategy: standard, conservative. Absent before its first."},
		{Name: "tezzeret_prewarm_ms_<strategy>", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of a first run of that kernel."},
		{Name: "tezzeret_compile_running", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Compilations that have not returned, also those that were given up."},
		{Name: "tezzeret_compile_consecutive_failures", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Attempts that failed in a row."},
		{Name: "tezzeret_breaker_consecutive_failures", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Blueprints that failed in a row."},
		{Name: "tezzeret_breaker_state", Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Circuit of the forge: 1 closed, 2 open, 3 half-open."},
		{Name: "tezzeret_breaker_open_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Times that the circuit opened."},
		{Name: "tezzeret_mode_conservative", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while one blueprint is compiled at a time, by the conservative strategy, after the circuit had opened."},
	}
}
