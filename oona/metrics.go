package oona

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// maxSources bounds the emergency sources counted apart; the rest is "other".
const maxSources = 64

// latency is the last observed duration of a path.
type latency struct{ ns atomic.Int64 }

func (l *latency) observe(d time.Duration) { l.ns.Store(int64(d)) }
func (l *latency) ms() float64             { return float64(l.ns.Load()) / 1e6 }

// meters are the counters of one client.
type meters struct {
	published, publishFailed, breakerRefused, overloaded atomic.Int64
	emergencyPublished, emergencyLimited                 atomic.Int64
	consumed, retried, deadLettered                      atomic.Int64
	depthMax                                             atomic.Int64
	readFailures                                         atomic.Int64 // consecutive, of the reading side
	readRefused                                          atomic.Int64 // all failed reads
	publishLatency, consumeLatency                       latency
	sources                                              sources
	timings                                              timings
}

func newMeters() *meters {
	return &meters{sources: sources{counts: make(map[sourceKey]int64)},
		timings: timings{all: make(map[timingKey]*recorder)}}
}

func (m *meters) refused(msg Message, err error, emergency bool) {
	switch {
	case errors.Is(err, ErrOverloaded):
		m.overloaded.Add(1)
	case errors.Is(err, ErrRateLimited) && emergency:
		m.sources.count(&m.emergencyLimited, sourceOf(msg), emergencyLimited)
	}
}

const (
	emergencySent    = "emergency_published.src."
	emergencyLimited = "emergency_rate_dropped.src."
)

type sourceKey struct{ prefix, source string }

// sources counts emergencies by who raised them.
type sources struct {
	mu     sync.Mutex
	counts map[sourceKey]int64
}

func (s *sources) count(total *atomic.Int64, source, prefix string) {
	total.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sourceKey{prefix, source}
	if _, known := s.counts[key]; !known && len(s.counts) >= maxSources {
		key.source = "other"
	}
	s.counts[key]++
}

func (s *sources) fill(values map[string]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, n := range s.counts {
		values[key.prefix+key.source] = float64(n)
	}
}

// sourceOf names who raised an emergency, in the characters a metric name may
// hold.
func sourceOf(m Message) string {
	var source string
	switch payload := m.Payload.(type) {
	case *leyline.EmergencySignal:
		source = payload.GetOrigin()
	case *leyline.TelemetryPacket:
		source = payload.GetSourceSubsystem()
	}
	if source == "" {
		return "unknown"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, source)
}

// Metrics returns every figure of the bus by its prototype name, without
// prefix. When Redis cannot be asked for depths, the rest comes with the error.
func (c *Client) Metrics(ctx context.Context) (map[string]float64, error) {
	values := make(map[string]float64, 48)
	depths, err := redis.Call(ctx, c.conn, c.depths)
	maps.Copy(values, depths)
	c.meters.fill(values)
	c.guard.fill(values)
	health := c.Health()
	values["publish_breaker_state"] = float64(health.PublishState)
	values["consume_breaker_state"] = float64(health.ConsumeState)
	values["dead_letter_total"] = float64(c.meters.deadLettered.Load())
	values["kernel_stale_dropped"] = float64(c.drops.total(ReasonStale, ReasonFuture))
	values["kernel_replay_dropped"] = float64(c.drops.total(ReasonReplay))
	values["dropped_total"] = float64(c.drops.total())
	return values, err
}

func (m *meters) fill(values map[string]float64) {
	for name, counter := range map[string]*atomic.Int64{
		"publish_total": &m.published, "publish_failed": &m.publishFailed, "publish_dropped": &m.overloaded,
		"breaker_publish_open": &m.breakerRefused, "breaker_consume_open": &m.readRefused,
		"queue_depth_max": &m.depthMax, "retry_total": &m.retried, "consume_total": &m.consumed,
		"emergency_published": &m.emergencyPublished, "emergency_rate_dropped": &m.emergencyLimited,
	} {
		values[name] = float64(counter.Load())
	}
	values["publish_rerouted"] = 0 // typed traffic is never diverted
	values["publish_latency_ms"] = m.publishLatency.ms()
	values["consume_latency_ms"] = m.consumeLatency.ms()
	m.sources.fill(values)
}

func (g *guard) fill(values map[string]float64) {
	values["conservative_mode"] = 0
	if g.conservative() {
		values["conservative_mode"] = 1
	}
	g.budget.fill(values)
}

// depths asks for the length of every stream in one pipeline, and for how far
// the slowest live group is behind on each.
func (c *Client) depths(ctx context.Context) (map[string]float64, error) {
	values := make(map[string]float64, 24)
	s := c.cfg.Streams
	roles := []struct{ name, stream string }{
		{"normal", s.Normal}, {"emergency", s.Emergency}, {"telemetry", s.Telemetry}, {"policy", s.Policy},
		{"kernel_requests", s.KernelRequests}, {"kernel_ready", s.KernelReady}, {"kernel_errors", s.KernelErrors},
		{"dead_letter", c.cfg.DeadLetter},
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	for _, role := range roles[:len(roles)-1] {
		values["queue_backlog_"+role.name] = float64(c.load.measure(ctx, role.stream))
	}
	commands := make(rueidis.Commands, 0, 2*len(roles))
	for _, role := range roles {
		commands = append(commands, c.conn.B().Xlen().Key(role.stream).Build())
	}
	for _, role := range roles[:len(roles)-1] {
		commands = append(commands, c.conn.B().Hget().Key(ledgerOf(role.stream)).Field("total").Build())
	}
	replies := c.conn.DoMulti(ctx, commands...)
	for i, reply := range replies[:len(roles)] {
		n, err := reply.AsInt64()
		if err != nil {
			return values, fmt.Errorf("read depth of %s: %w", roles[i].stream, err)
		}
		values["queue_depth_"+roles[i].name] = float64(n)
		storeMax(&c.meters.depthMax, n)
	}
	values["trimmed_unread_total"] = 0
	for i, reply := range replies[len(roles):] {
		lost, err := reply.AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return values, fmt.Errorf("read losses of %s: %w", roles[i].stream, err)
		}
		values["trimmed_unread_total."+roles[i].name] = float64(lost)
		values["trimmed_unread_total"] += float64(lost)
	}
	return values, nil
}

func storeMax(v *atomic.Int64, n int64) {
	old := v.Load()
	for n > old && !v.CompareAndSwap(old, n) {
		old = v.Load()
	}
}

// Health is the state of both directions of the bus.
type Health struct {
	PublishState, ConsumeState       leyline.CircuitBreakerState
	PublishFailures, ConsumeFailures int // consecutive
	Conservative                     bool
}

// consumeFailuresOpen is how many failed reads in a row make the reading side
// count as down.
const consumeFailuresOpen = 3

// Health reports the breakers as this client sees them, without asking Redis.
func (c *Client) Health() Health {
	h := Health{
		PublishState:    leyline.CircuitState(c.guard.breaker.State()),
		PublishFailures: int(c.guard.breaker.Counts().ConsecutiveFailures),
		ConsumeState:    leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED,
		ConsumeFailures: int(c.meters.readFailures.Load()),
		Conservative:    c.guard.conservative(),
	}
	if h.ConsumeFailures >= consumeFailuresOpen {
		h.ConsumeState = leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	}
	return h
}
