package oona

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/admission"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
	"github.com/esper-lite/weatherlight/oona/internal/stats"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Stats are what a client has done since it was connected, and how the streams are, which is
// the same for all clients of a bus.
type Stats struct {
	// Streams are by their roles, the fields of Streams in snake_case and dead_letter. There
	// are none when Redis cannot be asked.
	Streams    map[string]StreamStats
	DepthMax   int64 // the largest depth that was measured
	Publishing PublishStats
	Consuming  ConsumeStats
	Emergency  EmergencyStats
	// ClockAhead is how far the clock of the bus is ahead of ours, when that is known.
	ClockAhead   time.Duration
	ClockKnown   bool
	Conservative bool // publishing is cut off or a stream nearly full
}

// StreamStats count the entries of a stream.
type StreamStats struct {
	Depth   int64
	Backlog int64  // what the slowest live group has yet to read or finish
	Slowest string // the group that is so far behind, "" when none is
	Lost    int64  // removed before a live group had finished them; of all clients
}

// PublishStats count messages.
type PublishStats struct {
	Stored     int64
	Failed     int64 // Redis did not say that it stored them
	Overloaded int64 // not sent: no room for their priority
	Refused    int64 // not sent: the circuit was open
	LastMs     float64
	Circuit    leyline.CircuitBreakerState
}

// ConsumeStats count entries.
type ConsumeStats struct {
	Finished, Retried, DeadLettered int64
	Dropped, Stale, Replayed        int64 // refused: in all, for their time, for their id
	ReadsFailed                     int64
	LastMs                          float64
	Circuit                         leyline.CircuitBreakerState
}

// EmergencyStats count the messages for the emergency stream by who raised them.
type EmergencyStats struct {
	Sent, Limited Sources
	Budget        Budget
}

// Sources are counts by who raised an emergency; those beyond the first 64 count as "other".
type Sources = stats.Sources

// Budget is what may go to the emergency stream; without a number a minute it is unlimited.
type Budget = admission.Budget

// Stats counts. When Redis cannot be asked for its streams, the rest comes with the error.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	streams, err := redis.Call(ctx, c.conn, c.streams)
	health, m := c.Health(), c.meters
	ahead, _, known := c.ClockOffset()
	return Stats{
		Streams: streams, DepthMax: m.DepthMax(), Conservative: health.Conservative,
		ClockAhead: ahead, ClockKnown: known,
		Publishing: PublishStats{
			Stored: m.Published.Load(), Failed: m.PublishFailed.Load(), Overloaded: m.Overloaded.Load(),
			Refused: m.BreakerRefused.Load(), LastMs: m.PublishLatency.Ms(), Circuit: health.PublishState,
		},
		Consuming: ConsumeStats{
			Finished: m.Consumed.Load(), Retried: m.Retried.Load(), DeadLettered: m.DeadLettered.Load(),
			Dropped: m.Drops.Total(), Stale: m.Drops.Total(deadletter.ReasonStale, deadletter.ReasonFuture),
			Replayed: m.Drops.Total(deadletter.ReasonReplay), ReadsFailed: m.ReadRefused.Load(),
			LastMs: m.ConsumeLatency.Ms(), Circuit: health.ConsumeState,
		},
		Emergency: EmergencyStats{Sent: m.Emergencies.Sent.Counts(), Limited: m.Emergencies.Limited.Counts(), Budget: c.admission.Budget()},
	}, err
}

const roleDeadLetter = "dead_letter"

// streams asks for the length of every stream in one pipeline, and for how far
// the slowest live group is behind on each.
func (c *Client) streams(ctx context.Context) (map[string]StreamStats, error) {
	s := c.cfg.Streams
	roles := []struct{ name, stream string }{
		{"normal", s.Normal}, {"emergency", s.Emergency}, {"telemetry", s.Telemetry}, {"policy", s.Policy},
		{"kernel_requests", s.KernelRequests}, {"kernel_ready", s.KernelReady}, {"kernel_errors", s.KernelErrors},
		{roleDeadLetter, c.cfg.DeadLetter},
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	commands := make(rueidis.Commands, 0, 2*len(roles))
	for _, role := range roles {
		commands = append(commands, c.conn.B().Xlen().Key(role.stream).Build())
	}
	measured := make([]StreamStats, len(roles))
	for i, role := range roles[:len(roles)-1] {
		measured[i].Backlog, measured[i].Slowest = c.admission.Backlog(ctx, role.stream)
		commands = append(commands, c.conn.B().Hget().Key(admission.LossesKey(role.stream)).Field("total").Build())
	}
	replies, values := c.conn.DoMulti(ctx, commands...), make(map[string]StreamStats, len(roles))
	for i, reply := range replies {
		role, into, what := roles[i%len(roles)], &measured[i%len(roles)].Depth, "depth"
		if i >= len(roles) {
			into, what = &measured[i-len(roles)].Lost, "losses"
		}
		n, err := reply.AsInt64()
		if err != nil && !rueidis.IsRedisNil(err) {
			return nil, fmt.Errorf("read %s of %s: %w", what, role.stream, err)
		}
		*into = n
	}
	for i, role := range roles {
		c.meters.Depth(measured[i].Depth)
		values[role.name] = measured[i]
	}
	return values, nil
}

// Figures are the same as series.
func (s Stats) Figures() []telemetry.Figure {
	figures := append(s.streams(), s.Publishing.figures()...)
	figures = append(figures, s.Consuming.figures()...)
	figures = append(figures, telemetry.Measure("oona.clock_offset_seconds", "seconds",
		"How far the clock of Redis is ahead of this machine's, negative when it is behind. Absent when Redis may not tell.",
		s.ClockAhead.Seconds()).If(s.ClockKnown))
	figures = append(figures, telemetry.Is("oona.conservative_mode",
		"1 while publishing is cut off or a stream is nearly full, and 10 s longer. It is told and changes nothing.", s.Conservative))
	return append(figures, s.Emergency.figures()...)
}

// Lost is what was removed of all streams.
func (s Stats) Lost() (all int64) {
	for _, stream := range s.Streams {
		all += stream.Lost
	}
	return all
}

func (s Stats) streams() []telemetry.Figure {
	depth, backlog, lost := make(map[string]int64), make(map[string]int64), make(map[string]int64)
	for role, stream := range s.Streams {
		depth[role] = stream.Depth
		if role != roleDeadLetter {
			backlog[role], lost[role] = stream.Backlog, stream.Lost
		}
	}
	const byStream = "normal, emergency, telemetry, policy, kernel_requests, kernel_ready, kernel_errors"
	return []telemetry.Figure{
		telemetry.MeasureEach("oona.queue_backlog_<stream>", "count",
			"Entries that the slowest live group has yet to read or finish. Streams: "+byStream+".", backlog),
		telemetry.MeasureEach("oona.queue_depth_<stream>", "count",
			"Entries that lie on the stream, finished ones too. Streams: "+byStream+", dead_letter.", depth),
		telemetry.Count("oona.queue_depth_max", "The largest depth of a stream that was measured.", s.DepthMax),
		telemetry.Count("oona.trimmed_unread_total",
			"Entries of all streams that were removed before a live group had finished them, mostly because the stream "+
				"was full. Counted in Redis, the same for all instances: take the maximum, not the sum.", s.Lost()).If(len(s.Streams) > 0),
		telemetry.CountEach("oona.trimmed_unread_total.<stream>", "Those of one stream. Streams: "+byStream+".", lost),
	}
}

func (s PublishStats) figures() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Count("oona.publish_total", "Messages that Redis has stored, answers among them.", s.Stored),
		telemetry.Count("oona.publish_failed",
			"Messages that were sent and of which Redis did not say that it stored them.", s.Failed),
		telemetry.Count("oona.publish_dropped",
			"Messages that were not sent, because their stream had no room for their priority.", s.Overloaded),
		telemetry.Measure("oona.publish_rerouted", "count",
			"Always 0: no message is diverted to another stream. The name is the prototype's.", 0),
		telemetry.Measure("oona.publish_latency_ms", "ms", "Time of the last publish.", s.LastMs),
		telemetry.Measure("oona.publish_breaker_state", "state", "Circuit of publishing: 1 closed, 2 open, 3 half-open.", s.Circuit),
		telemetry.Count("oona.breaker_publish_open", "Messages that were not sent, because that circuit was open.", s.Refused),
	}
}

func (s ConsumeStats) figures() []telemetry.Figure {
	return []telemetry.Figure{
		telemetry.Count("oona.consume_total", "Entries that were handled and finished.", s.Finished),
		telemetry.Measure("oona.consume_latency_ms", "ms", "Time of the last entry, from taking it in to its commit.", s.LastMs),
		telemetry.Measure("oona.consume_breaker_state", "state",
			"Reading: 1 works, 2 failed three times or more in a row.", s.Circuit),
		telemetry.Count("oona.breaker_consume_open", "Reads of a stream that failed.", s.ReadsFailed),
		telemetry.Count("oona.retry_total", "Failures of a handler after which the entry is tried again.", s.Retried),
		telemetry.Count("oona.dropped_total", "Entries refused, for all reasons together.", s.Dropped),
		telemetry.Count("oona.dead_letter_total", "Entries that went to the dead letters.", s.DeadLettered),
		telemetry.Count("oona.kernel_stale_dropped",
			"Entries refused for the time that they were issued at: reasons stale and future.", s.Stale),
		telemetry.Count("oona.kernel_replay_dropped",
			"Entries refused because their id was taken already: reason replay.", s.Replayed),
	}
}

func (s EmergencyStats) figures() []telemetry.Figure {
	limited := s.Budget.PerMinute > 0
	return []telemetry.Figure{
		telemetry.Count("oona.emergency_published", "Messages stored on the emergency stream.", s.Sent.Total()),
		telemetry.CountEach("oona.emergency_published.src.<source>",
			"Those of one source: the origin of a signal, the subsystem of a packet. Absent before the first.", s.Sent),
		telemetry.Count("oona.emergency_rate_dropped",
			"Messages that OONA_EMERGENCY_MAX_PER_MIN held back from the emergency stream.", s.Limited.Total()),
		telemetry.CountEach("oona.emergency_rate_dropped.src.<source>", "Those of one source. Absent before the first.", s.Limited),
		telemetry.Measure("oona.emergency_tokens_remaining", "count",
			"Messages that may go to the emergency stream at once. Only with OONA_EMERGENCY_MAX_PER_MIN, like the next two.",
			s.Budget.Tokens).If(limited),
		telemetry.Measure("oona.emergency_refill_rate_per_s", "per second",
			"How fast that number grows again.", float64(s.Budget.PerMinute)/60).If(limited),
		telemetry.Measure("oona.emergency_bucket_capacity_per_min", "per minute",
			"OONA_EMERGENCY_MAX_PER_MIN, its largest.", s.Budget.PerMinute).If(limited),
	}
}

// Refused are drops as a series.
func Refused(drops []Drop) telemetry.Figure {
	figure := telemetry.CountEach[int64]("oona.refused_total{reason,stream}",
		"Entries that were read and refused. The reasons are listed below. A reason is absent before its first.", nil)
	for _, drop := range drops {
		figure = figure.With(float64(drop.Count), drop.Reason, drop.Stream)
	}
	return figure
}

// LatencySeries is that of histograms.
func LatencySeries() telemetry.Series {
	return telemetry.Series{
		Name: "oona_latency_seconds", Labels: "path,stream", Kind: telemetry.Histogram, Unit: "seconds",
		Meaning: "Time of a message on a path of the bus: publish (until Redis answered), consume (taking in to commit), " +
			"delivery (storing to commit).",
	}
}
