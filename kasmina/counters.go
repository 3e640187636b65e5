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
	mu     sync.Mutex
	totals Totals
}

// Totals are what was counted.
type Totals struct {
	Accepted, Evicted, Fallbacks, Unknown int64
	Violations, Resent, Dropped           int64

	Rejections, Ignored, Culls map[string]int64 // by reason
	Prefetches, Orders         map[string]int64 // by status, by kind
	Gates                      map[GateCount]int64
	Answers                    AnswerTimes
	VerifyMs                   *float64 // of the last verification
}

// GateCount is how a seed fared at a gate.
type GateCount struct {
	Gate   leyline.SeedLifecycleGate
	Passed bool
}

// AnswerTimes are how long the answers to kernel requests took.
type AnswerTimes struct {
	Count           int64
	TotalMs, LastMs float64
}

// NewCounters returns counters that have counted nothing.
func NewCounters() *Counters {
	return &Counters{totals: Totals{
		Rejections: make(map[string]int64), Ignored: make(map[string]int64), Prefetches: make(map[string]int64),
		Gates: make(map[GateCount]int64), Culls: make(map[string]int64), Orders: make(map[string]int64),
	}}
}

// Totals are those so far.
func (c *Counters) Totals() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.totals
	for _, counts := range []*map[string]int64{&t.Rejections, &t.Ignored, &t.Culls, &t.Prefetches, &t.Orders} {
		*counts = maps.Clone(*counts)
	}
	t.Gates = maps.Clone(t.Gates)
	return t
}

// maxReasons bounds the reasons that are told apart: libraries name their own.
const maxReasons = 64

// Observe counts a decision.
func (c *Counters) Observe(d Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.totals
	t.Accepted += int64(d.Stats.Accepted)
	t.Evicted += int64(d.Stats.Evicted)
	t.Fallbacks += int64(d.Stats.Fallbacks)
	t.Unknown += int64(d.Stats.Unknown)
	t.Violations += int64(d.Stats.Violations)
	t.Resent += int64(d.Stats.Resent)
	t.Dropped += int64(d.Stats.Dropped)
	if d.Stats.Reason != "" {
		count(t.Rejections, d.Stats.Reason)
	}
	if d.Ignored != "" {
		count(t.Ignored, d.Ignored)
	}
	for _, end := range d.Stats.Prefetches {
		count(t.Prefetches, end.Status)
		if ms := end.LatencyMS; ms != nil {
			t.Answers.Count++
			t.Answers.TotalMs += *ms
			t.Answers.LastMs = *ms
		}
	}
	for _, result := range d.Stats.Gates {
		t.Gates[GateCount{result.Gate, result.Passed}]++
	}
	for _, reason := range d.Stats.Culls {
		count(t.Culls, reason)
	}
	for i := range d.Orders {
		count(t.Orders, string(d.Orders[i].Kind))
	}
}

// Verified notes how long a verification took.
func (c *Counters) Verified(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ms := milliseconds(took)
	c.totals.VerifyMs = &ms
}

func count(counts map[string]int64, name string) {
	if _, known := counts[name]; !known && len(counts) >= maxReasons {
		name = "other"
	}
	counts[name]++
}

// Figures are the same as series: what this process has decided on seeds. What a record
// says of its run travels in packets: see PacketSeries.
func (t Totals) Figures() []telemetry.Figure {
	answers := t.Answers
	gates := telemetry.CountEach[int64]("kasmina.gates_total{gate,passed}", "Gates that seeds came to. Absent before the first.", nil)
	for _, key := range slices.SortedFunc(maps.Keys(t.Gates), GateCount.compare) {
		gates = gates.With(float64(t.Gates[key]), key.Gate.String(), strconv.FormatBool(key.Passed))
	}
	return []telemetry.Figure{
		telemetry.Count("kasmina.command_verifier.accepted_total",
			"Commands whose signature, id and time were in order and that were carried out.", t.Accepted),
		telemetry.Count("kasmina.nonce_ledger.evictions_total",
			"Ids of commands that were forgotten, for their age or for want of room.", t.Evicted),
		telemetry.Count("kasmina.isolation.violations_total",
			"Reports in which a seed touched what is not its own, of all seeds.", t.Violations),
		telemetry.Count("kasmina.fallback.events_total", "Germinations refused because they asked for a stand-in.", t.Fallbacks),
		telemetry.Count("kasmina.prefetch.unknown_total", "Answers that no seed waited for any more.", t.Unknown),
		telemetry.Count("kasmina.orders.resent_total",
			"Orders sent again, because a trainer had not read them or showed no effect.", t.Resent),
		telemetry.Count("kasmina.telemetry.events_dropped_total", "Events of seeds that found no room in a packet.", t.Dropped),
		measured("kasmina.command_verifier.validation_latency_ms",
			"Time of the last command's verification. Absent before it.", t.VerifyMs),
		telemetry.Measure("kasmina.prefetch.latency_ms", "ms",
			"Mean time from a request to its answer. Absent before the first.",
			answers.TotalMs/float64(answers.Count)).If(answers.Count > 0),
		telemetry.Measure("kasmina.prefetch.last_latency_ms", "ms",
			"Time from the last answered request to its answer. Absent before it.", answers.LastMs).If(answers.Count > 0),
		telemetry.CountEach("kasmina.command_verifier.rejections_total{reason}",
			"Commands refused, for what they are or for what they ask. A reason is absent before its first.", t.Rejections),
		telemetry.CountEach("kasmina.reports.ignored_total{reason}",
			"Reports of trainers that nothing was done for: stale, repeated, unnamed, empty, "+
				"retired (stored before the run was taken over), second (another trainer leads the run, and this one lives too), "+
				"bare (it tells of no seeds, and the run has a trainer that does). "+
				"A reason is absent before its first.", t.Ignored),
		telemetry.CountEach("kasmina.prefetch.requests_total{status}",
			"Kernel requests by what became of them: scheduled (all that were made), ready, error, timeout, "+
				"canceled (their seed left). A status is absent before its first.", t.Prefetches),
		telemetry.CountEach("kasmina.culls_total{reason}", "Seeds culled. A reason is absent before its first.", t.Culls),
		telemetry.CountEach("kasmina.orders_total{kind}",
			"Orders to trainers, those sent again among them. A kind is absent before its first.", t.Orders),
		gates,
	}
}

func (g GateCount) compare(other GateCount) int {
	return cmp.Or(cmp.Compare(g.Gate, other.Gate), cmp.Compare(flag(g.Passed), flag(other.Passed)))
}

// measured declares a time that is absent before it was measured.
func measured(name, meaning string, ms *float64, texts ...string) telemetry.Figure {
	return telemetry.Measure(name, "ms", meaning, *cmp.Or(ms, new(float64)), texts...).If(ms != nil)
}
