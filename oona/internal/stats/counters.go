// Package stats counts what one client does: Counters holds the totals, Drops the
// refused entries by reason and stream, and a Recorder the durations of one path
// on one stream, which a Histogram tells. The rooms of oona count, and its client
// tells all of it as metrics.
package stats

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxSources bounds the emergency sources counted apart, of what was sent and of what
// was not; the rest is "other".
const maxSources = 64

// latency is the last observed duration of a path.
type latency struct{ ns atomic.Int64 }

// Observe notes a duration.
func (l *latency) Observe(d time.Duration) { l.ns.Store(int64(d)) }

// Ms is the last of them.
func (l *latency) Ms() float64 { return float64(l.ns.Load()) / 1e6 }

// Counters are those of one client. They are safe for concurrent use.
type Counters struct {
	Published, PublishFailed, BreakerRefused, Overloaded atomic.Int64
	Consumed, Retried, DeadLettered                      atomic.Int64
	ReadFailures                                         atomic.Int64 // consecutive, of the reading side
	ReadRefused                                          atomic.Int64 // all failed reads
	PublishLatency, ConsumeLatency                       latency
	Drops                                                drops
	Emergencies                                          emergencies

	depthMax atomic.Int64
	timings  timings
}

// emergencies are the messages on the emergency stream, and those that the budget
// kept from it.
type emergencies struct{ Sent, Limited sources }

// NewCounters counts from zero.
func NewCounters() *Counters {
	c := new(Counters)
	c.timings.all = make(map[timingKey]*Recorder)
	return c
}

// Depth notes the length of a stream.
func (c *Counters) Depth(n int64) {
	old := c.depthMax.Load()
	for n > old && !c.depthMax.CompareAndSwap(old, n) {
		old = c.depthMax.Load()
	}
}

// DepthMax is the largest that was noted.
func (c *Counters) DepthMax() int64 { return c.depthMax.Load() }

// Timing is the recorder of a path on a stream.
func (c *Counters) Timing(path, stream string) *Recorder { return c.timings.of(path, stream) }

// Histograms are the durations of every path and stream, sorted by both.
func (c *Counters) Histograms() []Histogram { return c.timings.snapshot() }

// Sources are counts of emergencies by who raised them.
type Sources map[string]int64

// Total is how many they are together.
func (s Sources) Total() (sum int64) {
	for _, n := range s {
		sum += n
	}
	return sum
}

// sources counts emergencies by who raised them.
type sources struct {
	mu     sync.Mutex
	counts Sources
}

// Count counts one by who raised it.
func (s *sources) Count(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts == nil {
		s.counts = make(Sources)
	}
	if _, known := s.counts[source]; !known && len(s.counts) >= maxSources {
		source = "other"
	}
	s.counts[source]++
}

// Counts are those so far.
func (s *sources) Counts() Sources {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Drop counts the entries of a stream that were refused for one reason.
type Drop struct {
	Reason, Stream string
	Count          int64
}

// drops counts refusals. The zero value is usable.
type drops struct {
	mu     sync.Mutex
	counts map[Drop]int64 // keys have Count 0
}

// Add counts one refusal.
func (d *drops) Add(reason, stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = make(map[Drop]int64)
	}
	d.counts[Drop{Reason: reason, Stream: stream}]++
}

// List is every drop, sorted by reason and stream.
func (d *drops) List() []Drop {
	d.mu.Lock()
	defer d.mu.Unlock()
	drops := make([]Drop, 0, len(d.counts))
	for drop, n := range d.counts {
		drop.Count = n
		drops = append(drops, drop)
	}
	slices.SortFunc(drops, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Stream, b.Stream))
	})
	return drops
}

// Total is the refusals for some reasons; without any, for all of them.
func (d *drops) Total(reasons ...string) int64 {
	var sum int64
	for _, drop := range d.List() {
		if len(reasons) == 0 || slices.Contains(reasons, drop.Reason) {
			sum += drop.Count
		}
	}
	return sum
}
