package oona

import (
	"slices"

	"github.com/esper-lite/weatherlight/telemetry"
)

// Series are the figures of a client and the depths of the streams, which are the same for
// all clients of a bus. Their names are those of Metrics, Drops and Histograms.
func Series() []telemetry.Series {
	return slices.Concat(streamSeries(), publishSeries(), consumeSeries(), emergencySeries())
}

func streamSeries() []telemetry.Series {
	const byStream = "normal, emergency, telemetry, policy, kernel_requests, kernel_ready, kernel_errors"
	return []telemetry.Series{
		{Name: "oona_clock_offset_seconds", Kind: telemetry.Gauge, Unit: "seconds",
			Meaning: "How far the clock of Redis is ahead of this machine's, negative when it is behind. Absent when Redis may not tell."},
		{Name: "oona_latency_seconds", Labels: "path,stream", Kind: telemetry.Histogram, Unit: "seconds",
			Meaning: "Time of a message on a path of the bus: publish (until Redis answered), consume (taking in to commit), " +
				"delivery (storing to commit)."},
		{Name: "oona_queue_backlog_<stream>", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Entries that the slowest live group has yet to read or finish. Streams: " + byStream + "."},
		{Name: "oona_queue_depth_<stream>", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Entries that lie on the stream, finished ones too. Streams: " + byStream + ", dead_letter."},
		{Name: "oona_queue_depth_max", Kind: telemetry.Rising, Unit: "count",
			Meaning: "The largest depth of a stream that was measured."},
		{Name: "oona_trimmed_unread_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Entries of all streams that were removed before a live group had finished them, mostly because the stream " +
				"was full. Counted in Redis, the same for all instances: take the maximum, not the sum."},
		{Name: "oona_trimmed_unread_total_<stream>", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Those of one stream. Streams: " + byStream + "."},
	}
}

func publishSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "oona_publish_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Messages that Redis has stored, answers among them."},
		{Name: "oona_publish_failed", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Messages that were sent and of which Redis did not say that it stored them."},
		{Name: "oona_publish_dropped", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Messages that were not sent, because their stream had no room for their priority."},
		{Name: "oona_publish_rerouted", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Always 0: no message is diverted to another stream. The name is the prototype's."},
		{Name: "oona_publish_latency_ms", Kind: telemetry.Gauge, Unit: "ms", Meaning: "Time of the last publish."},
		{Name: "oona_publish_breaker_state", Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Circuit of publishing: 1 closed, 2 open, 3 half-open."},
		{Name: "oona_breaker_publish_open", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Messages that were not sent, because that circuit was open."},
	}
}

func consumeSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "oona_consume_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Entries that were handled and finished."},
		{Name: "oona_consume_latency_ms", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time of the last entry, from taking it in to its commit."},
		{Name: "oona_consume_breaker_state", Kind: telemetry.Gauge, Unit: "state",
			Meaning: "Reading: 1 works, 2 failed three times or more in a row."},
		{Name: "oona_breaker_consume_open", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Reads of a stream that failed."},
		{Name: "oona_retry_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Failures of a handler after which the entry is tried again."},
		{Name: "oona_conservative_mode", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while publishing is cut off or a stream is nearly full, and 10 s longer. It is told and changes nothing."},
		{Name: "oona_refused_total", Labels: "reason,stream", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Entries that were read and refused. The reasons are listed below. A reason is absent before its first."},
		{Name: "oona_dropped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Entries refused, for all reasons together."},
		{Name: "oona_dead_letter_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Entries that went to the dead letters."},
		{Name: "oona_kernel_stale_dropped", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Entries refused for the time that they were issued at: reasons stale and future."},
		{Name: "oona_kernel_replay_dropped", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Entries refused because their id was taken already: reason replay."},
	}
}

func emergencySeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "oona_emergency_published", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Messages stored on the emergency stream."},
		{Name: "oona_emergency_published_src_<source>", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Those of one source: the origin of a signal, the subsystem of a packet. Absent before the first."},
		{Name: "oona_emergency_rate_dropped", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Messages that OONA_EMERGENCY_MAX_PER_MIN held back from the emergency stream."},
		{Name: "oona_emergency_rate_dropped_src_<source>", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Those of one source. Absent before the first."},
		{Name: "oona_emergency_tokens_remaining", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Messages that may go to the emergency stream at once. Only with OONA_EMERGENCY_MAX_PER_MIN, like the next two."},
		{Name: "oona_emergency_refill_rate_per_s", Kind: telemetry.Gauge, Unit: "per second",
			Meaning: "How fast that number grows again."},
		{Name: "oona_emergency_bucket_capacity_per_min", Kind: telemetry.Gauge, Unit: "per minute",
			Meaning: "OONA_EMERGENCY_MAX_PER_MIN, its largest."},
	}
}
