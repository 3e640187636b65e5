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
