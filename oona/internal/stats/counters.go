// Package stats counts what one client does: Counters holds the totals, Drops the
// refused entries by reason and stream, and a Recorder the durations of one path
// on one stream, which a Histogram tells. The rooms of oona count, and its client
// tells all of it as metrics.
package stats

import (
	"cmp"
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

func (l *latency) ms() float64 { return float64(l.ns.Load()) / 1e6 }

// Counters are those of one client. They are safe for concurrent use.
type Counters struct {
	Published, PublishFailed, BreakerRefused, Overloaded atomic.Int64
	Consumed, Retried, DeadLettered                      atomic.Int64
	ReadFailures                                         atomic.Int64 // consecutive, of the reading side
	ReadRefused                                          atomic.Int64 // all failed reads
	PublishLatency, ConsumeLatency                       latency
	Drops                                                Drops

	depthMax    atomic.Int64
	emergencies emergencies
	timings     timings
}

// emergencies are the messages on the emergency stream, and those that the budget
// kept from it.
type emergencies struct{ sent, limited sources }

// NewCounters counts from zero.
func NewCounters() *Counters {
	c := new(Counters)
	c.emergencies.sent.prefix, c.emergencies.limited.prefix = "emergency_published", "emergency_rate_dropped"
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

// EmergencySent counts a message on the emergency stream by who raised it.
func (c *Counters) EmergencySent(source string) { c.emergencies.sent.count(source) }

// EmergencyLimited counts a message that the budget kept from it.
func (c *Counters) EmergencyLimited(source string) { c.emergencies.limited.count(source) }

// Timing is the recorder of a path on a stream.
func (c *Counters) Timing(path, stream string) *Recorder { return c.timings.of(path, stream) }

// Histograms are the durations of every path and stream, sorted by both.
func (c *Counters) Histograms() []Histogram { return c.timings.snapshot() }

// Fill tells every counter under its name.
func (c *Counters) Fill(values map[string]float64) {
	for name, counter := range map[string]*atomic.Int64{
		"publish_total": &c.Published, "publish_failed": &c.PublishFailed, "publish_dropped": &c.Overloaded,
		"breaker_publish_open": &c.BreakerRefused, "breaker_consume_open": &c.ReadRefused,
		"queue_depth_max": &c.depthMax, "retry_total": &c.Retried, "consume_total": &c.Consumed,
		"dead_letter_total": &c.DeadLettered,
	} {
		values[name] = float64(counter.Load())
	}
	values["publish_rerouted"] = 0 // typed traffic is never diverted
	values["publish_latency_ms"] = c.PublishLatency.ms()
	values["consume_latency_ms"] = c.ConsumeLatency.ms()
	values["dropped_total"] = float64(c.Drops.Total())
	c.emergencies.sent.fill(values)
	c.emergencies.limited.fill(values)
}

// sources counts emergencies by who raised them.
type sources struct {
	prefix string

	mu     sync.Mutex
	total  int64
	counts map[string]int64
}

func (s *sources) count(source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	if s.counts == nil {
		s.counts = make(map[string]int64)
	}
	if _, known := s.counts[source]; !known && len(s.counts) >= maxSources {
		source = "other"
	}
	s.counts[source]++
}

func (s *sources) fill(values map[string]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values[s.prefix] = float64(s.total)
	for source, n := range s.counts {
		values[s.prefix+".src."+source] = float64(n)
	}
}

// Drop counts the entries of a stream that were refused for one reason.
type Drop struct {
	Reason, Stream string
	Count          int64
}

// Drops counts refusals. The zero value is usable.
type Drops struct {
	mu     sync.Mutex
	counts map[Drop]int64 // keys have Count 0
}

// Add counts one refusal.
func (d *Drops) Add(reason, stream string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counts == nil {
		d.counts = make(map[Drop]int64)
	}
	d.counts[Drop{Reason: reason, Stream: stream}]++
}

// List is every drop, sorted by reason and stream.
func (d *Drops) List() []Drop {
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
func (d *Drops) Total(reasons ...string) int64 {
	var sum int64
	for _, drop := range d.List() {
		if len(reasons) == 0 || slices.Contains(reasons, drop.Reason) {
			sum += drop.Count
		}
	}
	return sum
}
