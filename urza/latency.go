package urza

import (
	"slices"
	"sync/atomic"
	"time"
)

// reservoir keeps the most recent durations, without a lock.
type reservoir struct {
	added   atomic.Uint64
	samples [1024]atomic.Int64 // nanoseconds
}

func (r *reservoir) add(d time.Duration) {
	at := r.added.Add(1) - 1
	r.samples[at%uint64(len(r.samples))].Store(int64(d))
}

func (r *reservoir) last() time.Duration {
	added := r.added.Load()
	if added == 0 {
		return 0
	}
	return time.Duration(r.samples[(added-1)%uint64(len(r.samples))].Load())
}

// sorted returns the kept durations in milliseconds, ascending.
func (r *reservoir) sorted() []float64 {
	kept := min(r.added.Load(), uint64(len(r.samples)))
	out := make([]float64, kept)
	for i := range out {
		out[i] = milliseconds(time.Duration(r.samples[i].Load()))
	}
	slices.Sort(out)
	return out
}

// percentile interpolates linearly between the two nearest of the sorted values;
// q is in 0..1. No values give 0.
func percentile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
