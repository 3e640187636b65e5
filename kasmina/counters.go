package kasmina

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
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

// Series are what this process has decided on seeds: the points of Counters. What a record
// says of its run travels in packets: see PacketSeries.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "kasmina_command_verifier_accepted_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Commands whose signature, id and time were in order and that were carried out."},
		{Name: "kasmina_command_verifier_rejections_total", Labels: "reason", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Commands refused, for what they are or for what they ask. A reason is absent before its first."},
		{Name: "kasmina_command_verifier_validation_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the last command's verification. Absent before it."},
		{Name: "kasmina_nonce_ledger_evictions_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Ids of commands that were forgotten, for their age or for want of room."},
		{Name: "kasmina_reports_ignored_total", Labels: "reason", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Reports of trainers that nothing was done for: stale, repeated, unnamed, empty, " +
				"retired (stored before the run was taken over), second (another trainer leads the run, and this one lives too), " +
				"bare (it tells of no seeds, and the run has a trainer that does). " +
				"A reason is absent before its first."},
		{Name: "kasmina_orders_total", Labels: "kind", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Orders to trainers, those sent again among them. A kind is absent before its first."},
		{Name: "kasmina_orders_resent_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Orders sent again, because a trainer had not read them or showed no effect."},
		{Name: "kasmina_gates_total", Labels: "gate,passed", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Gates that seeds came to. Absent before the first."},
		{Name: "kasmina_culls_total", Labels: "reason", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Seeds culled. A reason is absent before its first."},
		{Name: "kasmina_isolation_violations_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Reports in which a seed touched what is not its own, of all seeds."},
		{Name: "kasmina_fallback_events_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Germinations refused because they asked for a stand-in."},
		{Name: "kasmina_prefetch_requests_total", Labels: "status", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Kernel requests by what became of them: scheduled (all that were made), ready, error, timeout, " +
				"canceled (their seed left). A status is absent before its first."},
		{Name: "kasmina_prefetch_unknown_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Answers that no seed waited for any more."},
		{Name: "kasmina_prefetch_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Mean time from a request to its answer. Absent before the first."},
		{Name: "kasmina_prefetch_last_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time from the last answered request to its answer. Absent before it."},
		{Name: "kasmina_telemetry_events_dropped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Events of seeds that found no room in a packet."},
	}
}

// The labels of what is told of a seed, and of a run.
const (
	ofSeed = "seed_id,training_run_id"
	ofRun  = "training_run_id"
)

// PacketSeries are the points of packets about runs and seeds, by the names that they have
// where packets are shown.
func PacketSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "kasmina_seed_stage", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Stage of the seed: 1 dormant, 2 germinated, 3 training, 4 blending, 5 shadowing, 6 probationary, 7 fossilized, " +
				"8 culled, 9 embargoed, 10 resetting, 11 terminated."},
		{Name: "kasmina_seed_alpha", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "ratio",
			Meaning: "Share of the seed in the output that it is blended into."},
		{Name: "kasmina_seed_alpha_steps", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Steps of the blending so far. Absent in other stages."},
		{Name: "kasmina_seed_kernel_attached", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "flag",
			Meaning: "1 while the seed's kernel is attached to the host."},
		{Name: "kasmina_seed_kernel_latency_ms", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time from the request for the seed's kernel to its answer. Absent before."},
		{Name: "kasmina_seed_last_kernel_latency_ms", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "The same, by its other name."},
		{Name: "kasmina_seed_isolation_violations", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Reports in which the seed touched what is not its own, until two clean ones in a row forgive them."},
		{Name: "kasmina_seed_isolation_dot", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "dot",
			Meaning: "Cosine of the gradients of host and seed by the activations that they share. " +
				"Absent when its trainer does not measure it."},
		{Name: "kasmina_seed_isolation_host_norm", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "grad",
			Meaning: "Largest gradient that reached the host through the seed. Absent when its trainer does not measure it."},
		{Name: "kasmina_seed_isolation_seed_norm", Labels: ofSeed, Kind: telemetry.Gauge, Unit: "grad",
			Meaning: "Norm of the gradient over the seed's parameters. Absent when its trainer does not measure it."},
		{Name: "kasmina_seeds_active", Labels: ofRun, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Seeds of the packet's run, embargoed ones too."},
		{Name: "kasmina_isolation_violations", Labels: ofRun, Kind: telemetry.Rising, Unit: "count",
			Meaning: "Reports of the run in which a seed touched what is not its own."},
		{Name: "kasmina_nonce_ledger_size", Labels: ofRun, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Ids of commands that the run remembers to refuse repetitions."},
		{Name: "kasmina_prefetch_inflight", Labels: ofRun, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Seeds of the run that wait for their kernel."},
		{Name: "kasmina_breaker_state", Labels: ofRun, Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Circuit of the run's kernel requests: 1 closed, 2 open, 3 half-open. While it is open no seed germinates."},
		{Name: "kasmina_breaker_failures", Labels: ofRun, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Requests that failed since one went well with the circuit closed."},
		{Name: "kasmina_cache_kernel_size", Labels: ofRun, Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Seeds of the run whose kernel is attached."},
		{Name: "kasmina_kernel_fetch_latency_ms", Labels: ofRun, Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time from request to answer of the youngest seed that has a kernel. Absent without one."},
		{Name: "kasmina_prewarm_latency_ms", Labels: ofRun, Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Median forward pass of a kernel, as the library announced it. Absent in packets that announce none."},
		{Name: "kasmina_rollback_latency_ms", Labels: ofRun, Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time from the order to remove a seed until its trainer no longer listed it. Absent in other packets."},
	}
}
