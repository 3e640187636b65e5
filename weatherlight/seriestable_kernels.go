package weatherlight

// librarySeries are the answers to kernel requests and the library behind them.
func librarySeries() []seriesRow {
	return []seriesRow{
		{"urza_prefetch_hits", "", kindRising, "count", "Kernel requests answered with a kernel."},
		{"urza_prefetch_misses", "", kindRising, "count",
			"Kernel requests answered with missing_artifact: no such kernel, or none that may be used."},
		{"urza_prefetch_errors", "", kindRising, "count",
			"Kernel requests whose file was gone or damaged, and tries that failed because the library was away."},
		{"urza_prefetch_forged", "", kindRising, "count",
			"Kernels made on demand, for a slot or for parameters that were not in the library."},
		{"urza_prefetch_forge_failures", "", kindRising, "count", "Attempts at that which failed or were refused."},
		{"urza_prefetch_latency_ms", "", kindGauge, "ms", "Time that the last answer took to find."},
		{"urza_prefetch_latency_p50_ms", "", kindGauge, "ms", "Median of the last 1024."},
		{"urza_prefetch_latency_p95_ms", "", kindGauge, "ms", "95th percentile of the last 1024."},
		{"urza_library_cache_hits", "", kindRising, "count",
			"Look-ups answered from memory, or by a row that memory knew already."},
		{"urza_library_cache_misses", "", kindRising, "count",
			"Look-ups of what memory did not know, or that is not in the catalogue."},
		{"urza_library_cache_errors", "", kindRising, "count", "Questions to the catalogue that failed."},
		{"urza_library_cache_size", "", kindGauge, "count", "Catalogue rows in memory."},
		{"urza_library_cache_expired", "", kindRising, "count", "Rows that memory dropped for their age."},
		{"urza_library_evictions", "", kindRising, "count", "Rows that memory dropped, for their age or for want of room."},
		{"urza_library_lookup_latency_ms", "", kindGauge, "ms", "Time of the last look-up in the database."},
		{"urza_library_query_duration_ms", "", kindGauge, "ms", "The same, by its other name."},
		{"urza_library_slow_queries", "", kindRising, "count", "Look-ups in the database that took more than 250 ms."},
		{"urza_library_breaker_state", "", kindGauge, "state", "Circuit of the catalogue: 1 closed, 2 open, 3 half-open."},
		{"urza_library_breaker_open_total", "", kindCounter, "count", "Times that the circuit opened."},
		{"urza_library_breaker_denied", "", kindRising, "count", "Look-ups that the open circuit refused."},
		{"urza_library_conservative_mode", "", kindGauge, "bool",
			"1 from the opening of the circuit until it is closed again. It is told and changes nothing."},
		{"urza_library_integrity_failures", "", kindRising, "count",
			"Kernel files that did not match their checksum and were set aside."},
		{"urza_library_signature_failures", "", kindRising, "count",
			"Kernel files found without a signature of URZA_TRUSTED_KEYS."},
		{"urza_library_artifacts_missing", "", kindGauge, "count", "Catalogued kernels without a file, at the last maintenance."},
		{"urza_library_artifacts_quarantined", "", kindGauge, "count",
			"Catalogued kernels whose file was set aside, at the last maintenance."},
		{"urza_library_rows_skipped", "", kindGauge, "count", "Catalogue rows that cannot be read, at the last maintenance."},
		{"urza_library_artifacts_pruned", "", kindRising, "count", "Files that were removed by URZA_RETENTION_DAYS."},
		{"urza_library_scrub_passes", "", kindRising, "count", "Passes of the scrub that came to their end."},
		{"urza_library_scrub_checked", "", kindRising, "count", "Kernels that all passes have looked at."},
		{"urza_library_scrub_corrupt", "", kindGauge, "count", "Kernels that the last pass found damaged or set aside."},
		{"urza_library_scrub_missing", "", kindGauge, "count", "Kernels whose file the last pass did not find."},
		{"urza_library_scrub_untrusted", "", kindGauge, "count", "Sound kernels that no trusted key signed, at the last pass."},
		{"urza_library_scrub_failed", "", kindGauge, "count", "Kernels that the last pass could not read."},
	}
}

// forgeSeries tell what the forge compiled. An attempt is one compilation, a job
// one blueprint with all its attempts.
func forgeSeries() []seriesRow {
	return []seriesRow{
		{"tezzeret_jobs_total", "", kindCounter, "count", "Blueprints that a pass of the forge found to be compiled."},
		{"tezzeret_jobs_started", "", kindRising, "count", "Blueprints whose compilation began."},
		{"tezzeret_jobs_completed", "", kindRising, "count", "Blueprints that were compiled and stored."},
		{"tezzeret_jobs_failed", "", kindRising, "count", "Blueprints of which every attempt failed."},
		{"tezzeret_jobs_retried", "", kindRising, "count", "Blueprints that took more than one attempt."},
		{"tezzeret_jobs_parked", "", kindGauge, "count",
			"Blueprints that the last pass left alone for a while: they failed before, or the process ended over them."},
		{"tezzeret_compilation_total", "", kindCounter, "count", "Attempts that came to their end."},
		{"tezzeret_compilation_failed", "", kindRising, "count", "The same as tezzeret_jobs_failed."},
		{"tezzeret_compilation_failed_attempts", "", kindRising, "count", "Attempts that failed."},
		{"tezzeret_compilation_eager_fallback", "", kindGauge, "count",
			"Always 0: nothing that was not compiled is served. The name is the prototype's."},
		{"tezzeret_compilation_last_compile_ms", "", kindGauge, "ms", "Time of building the last kernel, median of its runs."},
		{"tezzeret_compilation_last_prewarm_ms", "", kindGauge, "ms", "Time of a first run of the last kernel, median."},
		{"tezzeret_compilation_duration_ms_<strategy>", "", kindGauge, "ms",
			"Time of building the last kernel of a strategy: standard, conservative. Absent before its first."},
		{"tezzeret_prewarm_ms_<strategy>", "", kindGauge, "ms", "Time of a first run of that kernel."},
		{"tezzeret_compile_running", "", kindGauge, "count",
			"Compilations that have not returned, also those that were given up."},
		{"tezzeret_compile_consecutive_failures", "", kindGauge, "count", "Attempts that failed in a row."},
		{"tezzeret_breaker_consecutive_failures", "", kindGauge, "count", "Blueprints that failed in a row."},
		{"tezzeret_breaker_state", "", kindGauge, "state", "Circuit of the forge: 1 closed, 2 open, 3 half-open."},
		{"tezzeret_breaker_open_total", "", kindCounter, "count", "Times that the circuit opened."},
		{"tezzeret_mode_conservative", "", kindGauge, "bool",
			"1 while one blueprint is compiled at a time, by the conservative strategy, after the circuit had opened."},
	}
}

// catalogSeries tell what the controller chose from the blueprints.
func catalogSeries() []seriesRow {
	return []seriesRow{
		{"karn_requests_total", "", kindCounter, "count", "Selections that gave a blueprint."},
		{"karn_requests_failed", "", kindRising, "count",
			"Selections that gave none: unknown, not permitted, or with wrong parameters."},
		{"karn_selection_safe", "", kindRising, "count", "Blueprints selected of the tier safe."},
		{"karn_selection_experimental", "", kindRising, "count", "Blueprints selected of the tier experimental."},
		{"karn_selection_adversarial", "", kindRising, "count", "Blueprints selected of the tier high-risk, the adversarial ones."},
		{"karn_selection_latency_ms", "", kindGauge, "ms", "Time of the last selection that gave a blueprint."},
		{"karn_breaker_state", "", kindGauge, "state",
			"Circuit of the approvals' look-up: 1 closed, 2 open, 3 half-open."},
		{"karn_breaker_open_total", "", kindCounter, "count", "Times that the circuit opened."},
		{"karn_breaker_denied", "", kindRising, "count", "Selections that the open circuit refused."},
	}
}
