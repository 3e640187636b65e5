package urza

import (
	"cmp"

	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// Stats are what a library has done since it was opened, and what it last found of itself.
type Stats struct {
	Memory  MemoryStats
	Queries QueryStats

	Damaged, Untrusted            int64 // files set aside; files that no trusted key signed
	Missing, Quarantined, Skipped int64 // kernels without a file, kernels set aside, rows not read: by the last Maintain
	Pruned                        int64 // files removed
	Scrubs, Scrubbed              int64 // whole passes, and kernels that all passes looked at
	LastScrub                     Scrubbed
}

// MemoryStats are the look-ups before the database.
type MemoryStats struct {
	Hits, Misses, Errors, Expired, Evicted int64
	Size                                   int // rows
}

// QueryStats are the look-ups in the database.
type QueryStats = catalogue.Lookups

// Stats counts.
func (l *Library) Stats() Stats {
	c, memory := &l.counts, &l.lookup.counts
	return Stats{
		Memory: MemoryStats{
			Hits: memory.hits.Load(), Misses: memory.misses.Load(), Errors: memory.errors.Load(),
			Expired: memory.expired.Load(), Evicted: memory.evictions.Load(), Size: l.lookup.cache.size(),
		},
		Queries: l.catalogue.Lookups(),
		Damaged: l.verifier.damaged.Load(), Untrusted: l.verifier.untrusted.Load(),
		Missing: c.missing.Load(), Quarantined: c.quarantined.Load(), Skipped: c.skipped.Load(), Pruned: c.pruned.Load(),
		Scrubs: c.scrub.passes.Load(), Scrubbed: c.scrub.checked.Load(), LastScrub: *cmp.Or(c.scrub.last.Load(), &Scrubbed{}),
	}
}

// Figures are the same as series.
func (s Stats) Figures() []telemetry.Figure {
	return append(s.lookups(), s.artifacts()...)
}

func (s Stats) lookups() []telemetry.Figure {
	memory, queries := s.Memory, s.Queries
	return []telemetry.Figure{
		telemetry.Count("urza.library.cache_hits", "Look-ups answered from memory, or by a row that memory knew already.", memory.Hits),
		telemetry.Count("urza.library.cache_misses",
			"Look-ups of what memory did not know, or that is not in the catalogue.", memory.Misses),
		telemetry.Count("urza.library.cache_errors", "Questions to the catalogue that failed.", memory.Errors),
		telemetry.Measure("urza.library.cache_size", "count", "Catalogue rows in memory.", memory.Size),
		telemetry.Count("urza.library.cache_expired", "Rows that memory dropped for their age.", memory.Expired),
		telemetry.Count("urza.library.evictions", "Rows that memory dropped, for their age or for want of room.", memory.Evicted),
		telemetry.Measure("urza.library.lookup_latency_ms", "ms",
			"Time of the last look-up in the database.", milliseconds(queries.Last)),
		telemetry.Measure("urza.library.query_duration_ms", "ms", "The same, by its other name.", milliseconds(queries.Last)),
		telemetry.Count("urza.library.slow_queries", "Look-ups in the database that took more than 250 ms.", queries.Slow),
		telemetry.Measure("urza.library.breaker_state", "state",
			"Circuit of the catalogue: 1 closed, 2 open, 3 half-open.", queries.Circuit),
		telemetry.Count("urza.library.breaker_open_total", "Times that the circuit opened.", queries.Opened),
		telemetry.Count("urza.library.breaker_denied", "Look-ups that the open circuit refused.", queries.Denied),
		telemetry.Is("urza.library.conservative_mode",
			"1 from the opening of the circuit until it is closed again. It is told and changes nothing.", queries.Conservative),
	}
}

func (s Stats) artifacts() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Count("urza.library.integrity_failures",
			"Kernel files that did not match their checksum and were set aside.", s.Damaged),
		telemetry.Count("urza.library.signature_failures", "Kernel files found without a signature of URZA_TRUSTED_KEYS.", s.Untrusted),
		telemetry.Measure("urza.library.artifacts_missing", "count",
			"Catalogued kernels without a file, at the last maintenance.", s.Missing),
		telemetry.Measure("urza.library.artifacts_quarantined", "count",
			"Catalogued kernels whose file was set aside, at the last maintenance.", s.Quarantined),
		telemetry.Measure("urza.library.rows_skipped", "count",
			"Catalogue rows that cannot be read, at the last maintenance.", s.Skipped),
		telemetry.Count("urza.library.artifacts_pruned", "Files that were removed: by URZA_RETENTION_DAYS, "+
			"and those of variants that made room, were replaced or found no room.", s.Pruned),
		telemetry.Count("urza.library.scrub_passes", "Passes of the scrub that came to their end.", s.Scrubs),
		telemetry.Count("urza.library.scrub_checked", "Kernels that all passes have looked at.", s.Scrubbed),
		telemetry.Measure("urza.library.scrub_corrupt", "count",
			"Kernels that the last pass found damaged or set aside.", s.LastScrub.Corrupt),
		telemetry.Measure("urza.library.scrub_missing", "count",
			"Kernels whose file the last pass did not find.", s.LastScrub.Missing),
		telemetry.Measure("urza.library.scrub_untrusted", "count",
			"Sound kernels that no trusted key signed, at the last pass.", s.LastScrub.Untrusted),
		telemetry.Measure("urza.library.scrub_failed", "count", "Kernels that the last pass could not read.", s.LastScrub.Failed),
	}
}
