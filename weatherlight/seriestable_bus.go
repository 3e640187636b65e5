package weatherlight

// busSeries are the figures of this instance's client, and the depths of the
// streams, which are the same for all instances.
func busSeries() []seriesRow {
	const byStream = "normal, emergency, telemetry, policy, kernel_requests, kernel_ready, kernel_errors"
	return []seriesRow{
		{"oona_latency_seconds", "path,stream", kindHistogram, "seconds",
			"Time of a message on a path of the bus: publish (until Redis answered), consume (taking in to commit), " +
				"delivery (storing to commit)."},
		{"oona_metrics_complete", "", kindGauge, "bool",
			"1 when the bus could be asked; at 0, backlogs, depths and losses are missing."},
		{"oona_queue_backlog_<stream>", "", kindGauge, "count",
			"Entries that the slowest live group has yet to read or finish. Streams: " + byStream + "."},
		{"oona_queue_depth_<stream>", "", kindGauge, "count",
			"Entries that lie on the stream, finished ones too. Streams: " + byStream + ", dead_letter."},
		{"oona_queue_depth_max", "", kindRising, "count", "The largest depth of a stream that was measured."},
		{"oona_trimmed_unread_total", "", kindCounter, "count",
			"Entries of all streams that were removed before a live group had finished them, mostly because the stream " +
				"was full. Counted in Redis, the same for all instances: take the maximum, not the sum."},
		{"oona_trimmed_unread_total_<stream>", "", kindRising, "count",
			"Those of one stream. Streams: " + byStream + "."},
		{"oona_publish_total", "", kindCounter, "count", "Messages that Redis has stored, answers among them."},
		{"oona_publish_failed", "", kindRising, "count", "Messages that were sent and of which Redis did not say that it stored them."},
		{"oona_publish_dropped", "", kindRising, "count",
			"Messages that were not sent, because their stream had no room for their priority."},
		{"oona_publish_rerouted", "", kindGauge, "count",
			"Always 0: no message is diverted to another stream. The name is the prototype's."},
		{"oona_publish_latency_ms", "", kindGauge, "ms", "Time of the last publish."},
		{"oona_publish_breaker_state", "", kindGauge, "state", "Circuit of publishing: 1 closed, 2 open, 3 half-open."},
		{"oona_breaker_publish_open", "", kindRising, "count", "Messages that were not sent, because that circuit was open."},
		{"oona_consume_total", "", kindCounter, "count", "Entries that were handled and finished."},
		{"oona_consume_latency_ms", "", kindGauge, "ms", "Time of the last entry, from taking it in to its commit."},
		{"oona_consume_breaker_state", "", kindGauge, "state",
			"Reading: 1 works, 2 failed three times or more in a row."},
		{"oona_breaker_consume_open", "", kindRising, "count", "Reads of a stream that failed."},
		{"oona_retry_total", "", kindCounter, "count", "Failures of a handler after which the entry is tried again."},
		{"oona_conservative_mode", "", kindGauge, "bool",
			"1 while publishing is cut off or a stream is nearly full, and 10 s longer. It is told and changes nothing."},
	}
}

// emergencySeries are the refusals, and the emergencies by who raised them.
func emergencySeries() []seriesRow {
	return []seriesRow{
		{"oona_refused_total", "reason,stream", kindCounter, "count",
			"Entries that were read and refused. The reasons are listed below. A reason is absent before its first."},
		{"oona_dropped_total", "", kindCounter, "count", "Entries refused, for all reasons together."},
		{"oona_dead_letter_total", "", kindCounter, "count", "Entries that went to the dead letters."},
		{"oona_kernel_stale_dropped", "", kindRising, "count",
			"Entries refused for the time that they were issued at: reasons stale and future."},
		{"oona_kernel_replay_dropped", "", kindRising, "count",
			"Entries refused because their id was taken already: reason replay."},
		{"oona_emergency_published", "", kindRising, "count", "Messages stored on the emergency stream."},
		{"oona_emergency_published_src_<source>", "", kindRising, "count",
			"Those of one source: the origin of a signal, the subsystem of a packet. Absent before the first."},
		{"oona_emergency_rate_dropped", "", kindRising, "count",
			"Messages that OONA_EMERGENCY_MAX_PER_MIN held back from the emergency stream."},
		{"oona_emergency_rate_dropped_src_<source>", "", kindRising, "count",
			"Those of one source. Absent before the first."},
		{"oona_emergency_tokens_remaining", "", kindGauge, "count",
			"Messages that may go to the emergency stream at once. Only with OONA_EMERGENCY_MAX_PER_MIN, like the next two."},
		{"oona_emergency_refill_rate_per_s", "", kindGauge, "per second", "How fast that number grows again."},
		{"oona_emergency_bucket_capacity_per_min", "", kindGauge, "per minute", "OONA_EMERGENCY_MAX_PER_MIN, its largest."},
	}
}
