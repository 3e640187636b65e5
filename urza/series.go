package urza

import (
	"slices"

	"github.com/esper-lite/weatherlight/telemetry"
)

// Series are the answers to kernel requests, and the library behind them: the names of
// Prefetcher.Metrics behind urza_prefetch_, and of Library.Metrics behind urza_library_.
func Series() []telemetry.Series {
	return slices.Concat(prefetchSeries(), catalogueSeries(), artifactSeries(), scrubSeries())
}

func prefetchSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "urza_prefetch_hits", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernel requests answered with a kernel."},
		{Name: "urza_prefetch_misses", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernel requests answered with missing_artifact: no such kernel, or none that may be used."},
		{Name: "urza_prefetch_errors", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernel requests whose file was gone or damaged, and tries that failed because the library was away."},
		{Name: "urza_prefetch_forged", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernels made on demand, for a slot or for parameters that were not in the library."},
		{Name: "urza_prefetch_forge_failures", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Attempts at that which failed or were refused."},
		{Name: "urza_prefetch_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time that the last answer took to find."},
		{Name: "urza_prefetch_latency_p50_ms", Kind: telemetry.Gauge, Unit: "ms", Meaning: "Median of the last 1024."},
		{Name: "urza_prefetch_latency_p95_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "95th percentile of the last 1024."},
	}
}

func catalogueSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "urza_library_cache_hits", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Look-ups answered from memory, or by a row that memory knew already."},
		{Name: "urza_library_cache_misses", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Look-ups of what memory did not know, or that is not in the catalogue."},
		{Name: "urza_library_cache_errors", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Questions to the catalogue that failed."},
		{Name: "urza_library_cache_size", Kind: telemetry.Gauge, Unit: "count", Meaning: "Catalogue rows in memory."},
		{Name: "urza_library_cache_expired", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Rows that memory dropped for their age."},
		{Name: "urza_library_evictions", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Rows that memory dropped, for their age or for want of room."},
		{Name: "urza_library_lookup_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the last look-up in the database."},
		{Name: "urza_library_query_duration_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "The same, by its other name."},
		{Name: "urza_library_slow_queries", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Look-ups in the database that took more than 250 ms."},
		{Name: "urza_library_breaker_state", Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Circuit of the catalogue: 1 closed, 2 open, 3 half-open."},
		{Name: "urza_library_breaker_open_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Times that the circuit opened."},
		{Name: "urza_library_breaker_denied", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Look-ups that the open circuit refused."},
		{Name: "urza_library_conservative_mode", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 from the opening of the circuit until it is closed again. It is told and changes nothing."},
	}
}

func artifactSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "urza_library_integrity_failures", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernel files that did not match their checksum and were set aside."},
		{Name: "urza_library_signature_failures", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernel files found without a signature of URZA_TRUSTED_KEYS."},
		{Name: "urza_library_artifacts_missing", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Catalogued kernels without a file, at the last maintenance."},
		{Name: "urza_library_artifacts_quarantined", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Catalogued kernels whose file was set aside, at the last maintenance."},
		{Name: "urza_library_rows_skipped", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Catalogue rows that cannot be read, at the last maintenance."},
		{Name: "urza_library_artifacts_pruned", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Files that were removed: by URZA_RETENTION_DAYS, " +
				"and those of variants that made room, were replaced or found no room."},
	}
}

func scrubSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "urza_library_scrub_passes", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Passes of the scrub that came to their end."},
		{Name: "urza_library_scrub_checked", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Kernels that all passes have looked at."},
		{Name: "urza_library_scrub_corrupt", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Kernels that the last pass found damaged or set aside."},
		{Name: "urza_library_scrub_missing", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Kernels whose file the last pass did not find."},
		{Name: "urza_library_scrub_untrusted", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Sound kernels that no trusted key signed, at the last pass."},
		{Name: "urza_library_scrub_failed", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Kernels that the last pass could not read."},
	}
}
