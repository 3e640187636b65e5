package oona

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/admission"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
)

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
	c.meters.Fill(values)
	c.admission.Fill(values)
	if ahead, _, known := c.ClockOffset(); known {
		values["clock_offset_seconds"] = ahead.Seconds()
	}
	health := c.Health()
	values["publish_breaker_state"] = float64(health.PublishState)
	values["consume_breaker_state"] = float64(health.ConsumeState)
	values["kernel_stale_dropped"] = float64(c.meters.Drops.Total(deadletter.ReasonStale, deadletter.ReasonFuture))
	values["kernel_replay_dropped"] = float64(c.meters.Drops.Total(deadletter.ReasonReplay))
	return values, err
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
		values["queue_backlog_"+role.name] = float64(c.admission.Backlog(ctx, role.stream))
	}
	commands := make(rueidis.Commands, 0, 2*len(roles))
	for _, role := range roles {
		commands = append(commands, c.conn.B().Xlen().Key(role.stream).Build())
	}
	for _, role := range roles[:len(roles)-1] {
		commands = append(commands, c.conn.B().Hget().Key(admission.LossesKey(role.stream)).Field("total").Build())
	}
	replies := c.conn.DoMulti(ctx, commands...)
	for i, reply := range replies[:len(roles)] {
		n, err := reply.AsInt64()
		if err != nil {
			return values, fmt.Errorf("read depth of %s: %w", roles[i].stream, err)
		}
		values["queue_depth_"+roles[i].name] = float64(n)
		c.meters.Depth(n)
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

// Slowest is the live group that was the furthest behind on a stream when Metrics last
// asked, "" when none was.
func (c *Client) Slowest(stream string) string { return c.admission.Slowest(stream) }

// Drop counts the entries of a stream that were refused for one reason.
type Drop = stats.Drop

// Drops lists the refused entries of this client, sorted by reason and stream.
func (c *Client) Drops() []Drop { return c.meters.Drops.List() }

// Histogram counts the durations of one path on one stream since the client was
// connected.
type Histogram = stats.Histogram

// Histograms returns the latencies of every path and stream that was used,
// sorted by path and stream. Streams beyond the first 64 are counted as "other".
func (c *Client) Histograms() []Histogram { return c.meters.Histograms() }

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
		ConsumeState:    leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED,
		ConsumeFailures: int(c.meters.ReadFailures.Load()),
		Conservative:    c.admission.Conservative(),
	}
	h.PublishState, h.PublishFailures = c.admission.Breaker()
	if h.ConsumeFailures >= consumeFailuresOpen {
		h.ConsumeState = leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	}
	return h
}
