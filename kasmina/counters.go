package kasmina

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Counters count what a process decided. They are safe for concurrent use. Feed
// them with every decision that was carried out: one that a conflict made void
// counts for nothing.
type Counters struct {
	mu         sync.Mutex
	accepted   int64
	evicted    int64
	fallbacks  int64
	unknown    int64
	violations int64
	resent     int64
	dropped    int64
	verifyMS   *float64 // of the last verification
	rejections map[string]int64
	ignored    map[string]int64
	prefetches map[string]int64
	gates      map[gateCount]int64
	culls      map[string]int64
	orders     map[string]int64
	answers    int64
	totalMS    float64
	lastMS     float64
}

type gateCount struct {
	gate   leyline.SeedLifecycleGate
	passed bool
}

// NewCounters returns counters that have counted nothing.
func NewCounters() *Counters {
	return &Counters{
		rejections: make(map[string]int64), ignored: make(map[string]int64), prefetches: make(map[string]int64),
		gates: make(map[gateCount]int64), culls: make(map[string]int64), orders: make(map[string]int64),
	}
}

// maxReasons bounds the reasons that are told apart: libraries name their own.
const maxReasons = 64

// Observe counts a decision.
func (c *Counters) Observe(d Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted += int64(d.Stats.Accepted)
	c.evicted += int64(d.Stats.Evicted)
	c.fallbacks += int64(d.Stats.Fallbacks)
	c.unknown += int64(d.Stats.Unknown)
	c.violations += int64(d.Stats.Violations)
	c.resent += int64(d.Stats.Resent)
	c.dropped += int64(d.Stats.Dropped)
	if d.Stats.Reason != "" {
		count(c.rejections, d.Stats.Reason)
	}
	if d.Ignored != "" {
		count(c.ignored, d.Ignored)
	}
	for _, end := range d.Stats.Prefetches {
		count(c.prefetches, end.Status)
		if ms := end.LatencyMS; ms != nil {
			c.answers++
			c.totalMS += *ms
			c.lastMS = *ms
		}
	}
	for _, result := range d.Stats.Gates {
		c.gates[gateCount{result.Gate, result.Passed}]++
	}
	for _, reason := range d.Stats.Culls {
		count(c.culls, reason)
	}
	for i := range d.Orders {
		count(c.orders, string(d.Orders[i].Kind))
	}
}

// Verified notes how long a verification took.
func (c *Counters) Verified(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := milliseconds(took)
	c.verifyMS = &ms
}

func count(counts map[string]int64, name string) {
	if _, known := counts[name]; !known && len(counts) >= maxReasons {
		name = "other"
	}
	counts[name]++
}

// Points are the counters by the names of the catalogue.
func (c *Counters) Points() []*leyline.MetricPoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	points := []*leyline.MetricPoint{
		pointOf("kasmina.command_verifier.accepted_total", float64(c.accepted), unitCount),
		pointOf("kasmina.nonce_ledger.evictions_total", float64(c.evicted), unitCount),
		pointOf("kasmina.isolation.violations_total", float64(c.violations), unitCount),
		pointOf("kasmina.fallback.events_total", float64(c.fallbacks), unitCount),
		pointOf("kasmina.prefetch.unknown_total", float64(c.unknown), unitCount),
		pointOf("kasmina.orders.resent_total", float64(c.resent), unitCount),
		pointOf("kasmina.telemetry.events_dropped_total", float64(c.dropped), unitCount),
	}
	points = appendMeasured(points, "kasmina.command_verifier.validation_latency_ms", c.verifyMS)
	if c.answers > 0 {
		points = append(points, pointOf("kasmina.prefetch.latency_ms", c.totalMS/float64(c.answers), unitMS),
			pointOf("kasmina.prefetch.last_latency_ms", c.lastMS, unitMS))
	}
	points = appendCounts(points, "kasmina.command_verifier.rejections_total", "reason", c.rejections)
	points = appendCounts(points, "kasmina.reports.ignored_total", "reason", c.ignored)
	points = appendCounts(points, "kasmina.prefetch.requests_total", "status", c.prefetches)
	points = appendCounts(points, "kasmina.culls_total", "reason", c.culls)
	points = appendCounts(points, "kasmina.orders_total", "kind", c.orders)
	return append(points, c.gatePoints()...)
}

func appendCounts(points []*leyline.MetricPoint, name, attribute string, counts map[string]int64) []*leyline.MetricPoint {
	for _, text := range slices.Sorted(maps.Keys(counts)) {
		points = append(points, pointOf(name, float64(counts[text]), unitCount, attribute, text))
	}
	return points
}

func (c *Counters) gatePoints() []*leyline.MetricPoint {
	keys := slices.SortedFunc(maps.Keys(c.gates), func(a, b gateCount) int {
		return cmp.Or(cmp.Compare(a.gate, b.gate), cmp.Compare(flag(a.passed), flag(b.passed)))
	})
	points := make([]*leyline.MetricPoint, 0, len(keys))
	for _, key := range keys {
		points = append(points, pointOf("kasmina.gates_total", float64(c.gates[key]), unitCount,
			"gate", key.gate.String(), "passed", strconv.FormatBool(key.passed)))
	}
	return points
}
