package urza

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Metrics is a snapshot under the prototype's names, which its summary packet
// prefixes with "urza.library.". After them come our own: artifacts_missing,
// artifacts_quarantined and rows_skipped as of the last Maintain; signature_failures
// and artifacts_pruned since Open; and what Scrub found, as scrub_*.
//
// lookup_latency_ms (and query_duration_ms, the same) is the last look-up that
// went to the database; breaker_state is a Leyline enum number.
func (l *Library) Metrics() map[string]float64 {
	c, b := &l.counts, l.breaker
	lookup := milliseconds(time.Duration(b.lastLookup.Load()))
	metrics := map[string]float64{
		"cache_hits":         float64(c.hits.Load()),
		"cache_misses":       float64(c.misses.Load()),
		"cache_errors":       float64(c.errors.Load()),
		"cache_expired":      float64(c.expired.Load()),
		"cache_size":         float64(l.cache.size()),
		"evictions":          float64(c.evictions.Load()),
		"integrity_failures": float64(c.integrityFailures.Load()),
		"lookup_latency_ms":  lookup,
		"query_duration_ms":  lookup,
		"slow_queries":       float64(b.slowQueries.Load()),
		"breaker_open_total": float64(b.opened.Load()),
		"breaker_denied":     float64(b.denied.Load()),
		"breaker_state":      float64(l.Breaker()),
		"conservative_mode":  indicator(b.conservative.Load()),

		"artifacts_missing":     float64(c.missing.Load()),
		"artifacts_quarantined": float64(c.quarantined.Load()),
		"rows_skipped":          float64(c.skipped.Load()),
		"signature_failures":    float64(c.untrusted.Load()),
		"artifacts_pruned":      float64(c.pruned.Load()),
	}
	c.scrub.report(metrics)
	return metrics
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func indicator(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// Breaker is the circuit of the catalogue: open while the database does not answer.
func (l *Library) Breaker() leyline.CircuitBreakerState { return l.breaker.state() }
