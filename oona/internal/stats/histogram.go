package stats

import (
	"cmp"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// Paths that are timed, for each stream.
const (
	PathPublish  = "publish"  // from the call of Publish to the answer of Redis
	PathConsume  = "consume"  // from taking an entry in to its commit
	PathDelivery = "delivery" // from storing an entry, by the server's clock, to its commit
)

// latencyBounds are the upper bounds of the buckets, in seconds.
var latencyBounds = [...]float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
	0.5, 1, 2.5, 5, 10}

// Histogram counts the durations of one path on one stream since the client was
// connected.
type Histogram struct {
	Path, Stream string
	Bounds       []float64 // upper bounds of the buckets, inclusive, in seconds, ascending
	Counts       []uint64  // of each bucket alone; the last, one more than Bounds, is what lies above
	Sum          float64   // seconds
}

// Count is the number of durations.
func (h Histogram) Count() uint64 {
	var n uint64
	for _, count := range h.Counts {
		n += count
	}
	return n
}

type timingKey struct{ path, stream string }

// timings holds a recorder for each path and stream.
type timings struct {
	mu  sync.RWMutex
	all map[timingKey]*Recorder
}

const maxTimings = 3 * 64

func (t *timings) of(path, stream string) *Recorder {
	key := timingKey{path, stream}
	t.mu.RLock()
	r := t.all[key]
	t.mu.RUnlock()
	if r != nil {
		return r
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[key] == nil && len(t.all) >= maxTimings {
		key.stream = "other"
	}
	if t.all[key] == nil {
		t.all[key] = new(Recorder)
	}
	return t.all[key]
}

func (t *timings) snapshot() []Histogram {
	t.mu.RLock()
	defer t.mu.RUnlock()
	histograms := make([]Histogram, 0, len(t.all))
	for key, r := range t.all {
		h := Histogram{Path: key.path, Stream: key.stream, Bounds: latencyBounds[:], Counts: make([]uint64, len(r.counts)),
			Sum: time.Duration(r.sum.Load()).Seconds()}
		h.Bounds = slices.Clone(h.Bounds)
		for i := range h.Counts {
			h.Counts[i] = r.counts[i].Load()
		}
		histograms = append(histograms, h)
	}
	slices.SortFunc(histograms, func(a, b Histogram) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Stream, b.Stream))
	})
	return histograms
}

// Recorder counts durations without locks.
type Recorder struct {
	counts [len(latencyBounds) + 1]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts n durations of the same length. A negative one, between two
// clocks, counts as none.
func (r *Recorder) Observe(d time.Duration, n int) {
	d = max(d, 0)
	r.counts[sort.SearchFloat64s(latencyBounds[:], d.Seconds())].Add(uint64(n))
	r.sum.Add(int64(d) * int64(n))
}

// Streak counts durations that are mostly the same in a row: entries of one
// batch were taken in at one time, and stored in the same millisecond.
type Streak struct {
	Recorder *Recorder
	last     time.Duration
	n        int
}

// Observe counts one duration.
func (s *Streak) Observe(d time.Duration) {
	if d != s.last {
		s.End()
		s.last = d
	}
	s.n++
}

// End counts what was observed last; a streak ends with it.
func (s *Streak) End() {
	if s.n > 0 {
		s.Recorder.Observe(s.last, s.n)
		s.n = 0
	}
}
