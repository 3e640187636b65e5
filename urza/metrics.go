package urza

import "github.com/esper-lite/weatherlight/leyline"

// Metrics is a snapshot under the prototype's names, which its summary packet
// prefixes with "urza.library.". After them come our own: artifacts_missing,
// artifacts_quarantined and rows_skipped as of the last Maintain; signature_failures
// and artifacts_pruned since Open; and what Scrub found, as scrub_*.
//
// lookup_latency_ms (and query_duration_ms, the same) is the last look-up that
// went to the database; breaker_state is a Leyline enum number.
func (l *Library) Metrics() map[string]float64 {
	c, memory, database := &l.counts, &l.lookup.counts, l.catalogue.Lookups()
	last := milliseconds(database.Last)
	metrics := map[string]float64{
		"cache_hits":         float64(memory.hits.Load()),
		"cache_misses":       float64(memory.misses.Load()),
		"cache_errors":       float64(memory.errors.Load()),
		"cache_expired":      float64(memory.expired.Load()),
		"cache_size":         float64(l.lookup.cache.size()),
		"evictions":          float64(memory.evictions.Load()),
		"integrity_failures": float64(l.verifier.damaged.Load()),
		"lookup_latency_ms":  last,
		"query_duration_ms":  last,
		"slow_queries":       float64(database.Slow),
		"breaker_open_total": float64(database.Opened),
		"breaker_denied":     float64(database.Denied),
		"breaker_state":      float64(database.Circuit),
		"conservative_mode":  indicator(database.Conservative),

		"artifacts_missing":     float64(c.missing.Load()),
		"artifacts_quarantined": float64(c.quarantined.Load()),
		"rows_skipped":          float64(c.skipped.Load()),
		"signature_failures":    float64(l.verifier.untrusted.Load()),
		"artifacts_pruned":      float64(c.pruned.Load()),
	}
	c.scrub.report(metrics)
	return metrics
}

func indicator(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// Breaker is the circuit of the catalogue: open while the database does not answer.
func (l *Library) Breaker() leyline.CircuitBreakerState { return l.catalogue.Lookups().Circuit }
