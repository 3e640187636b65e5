package weatherlight

// reportSeries are those of the field-report log. Three names end in _total and are
// levels all the same: they are the prototype's.
func reportSeries() []seriesRow {
	return []seriesRow{
		{"tamiyo_field_reports_published_total", "", kindCounter, "count", "Field reports that the bus has taken."},
		{"tamiyo_field_reports_retries_total", "", kindCounter, "count", "Attempts to publish one that failed."},
		{"tamiyo_field_reports_pending_total", "", kindGauge, "count",
			"Field reports on disk that the bus has not taken yet. A level, in spite of its name."},
		{"tamiyo_field_reports_retry_backlog_total", "", kindGauge, "count",
			"Those of them that were refused before and wait for another attempt. A level, in spite of its name."},
		{"tamiyo_field_reports_dropped_total", "", kindGauge, "count",
			"Field reports on disk that an earlier release gave up; this one gives up none. A level, in spite of its name."},
		{"tamiyo_field_reports_retry_index_load_errors", "", kindGauge, "count",
			"Unreadable entries of the log's index at the start; their reports are sent again."},
	}
}

// seedSeries are the seed manager's. On the bus they travel in its own packets,
// which have figures of each seed besides.
func seedSeries() []seriesRow {
	return []seriesRow{
		{"kasmina_seeds_active", "", kindGauge, "count", "Seeds that the manager holds, embargoed ones too."},
		{"kasmina_cache_kernel_size", "", kindGauge, "count", "Seeds whose kernel is attached to the host."},
		{"kasmina_isolation_violations", "", kindRising, "count",
			"Epochs in which a gradient of a seed reached the host, of all seeds."},
		{"kasmina_fallback_active", "", kindGauge, "bool",
			"Always 0: no seed runs on a stand-in for its kernel. The name is the prototype's."},
		{"kasmina_fallback_events_total", "", kindCounter, "count",
			"Germinations refused because they asked for a stand-in."},
		{"kasmina_breaker_state", "", kindGauge, "state",
			"Circuit of the kernels' fetching: 1 closed, 2 open, 3 half-open. While it is open no seed germinates."},
		{"kasmina_breaker_failures", "", kindGauge, "count",
			"Fetches that failed since one went well with the circuit closed."},
		{"kasmina_prefetch_inflight", "", kindGauge, "count", "Seeds that wait for their kernel."},
		{"kasmina_prefetch_requests_total", "status", kindCounter, "count",
			"Kernel requests by what became of them: scheduled (all that were made), ready, error, timeout, " +
				"canceled (not published, or its seed left). A status is absent before its first."},
		{"kasmina_prefetch_unknown_total", "", kindCounter, "count", "Answers that no seed of this instance waited for."},
		{"kasmina_prefetch_latency_ms", "", kindGauge, "ms", "Mean time from a request to its answer since the start."},
		{"kasmina_prefetch_last_latency_ms", "", kindGauge, "ms", "Time from the last answered request to its answer. Absent before it."},
		{"kasmina_kernel_fetch_latency_ms", "", kindGauge, "ms",
			"Time from the request until the kernel was read, of the youngest seed that has one. Absent without one."},
		{"kasmina_command_verifier_accepted_total", "", kindCounter, "count",
			"Commands whose signature, id and time were in order."},
		{"kasmina_command_verifier_rejections_total", "reason", kindCounter, "count",
			"Commands refused, for what they are or for what they ask. A reason is absent before its first."},
		{"kasmina_command_verifier_validation_latency_ms", "", kindGauge, "ms",
			"Time of the last command's verification. Absent before it."},
		{"kasmina_nonce_ledger_size", "", kindGauge, "count", "Ids of commands that are remembered to refuse repetitions."},
		{"kasmina_nonce_ledger_evictions_total", "", kindCounter, "count", "Ids that were forgotten, for their age or for want of room."},
		{"kasmina_nonce_ledger_ttl_seconds", "", kindGauge, "seconds", "How long an id is remembered."},
		{"kasmina_telemetry_events_dropped_total", "", kindCounter, "count",
			"Events of seeds that found no room between two packets."},
		{"kasmina_telemetry_dropped_total", "", kindCounter, "count",
			"Packets of Kasmina among weatherlight_telemetry_dropped_total. Absent before the first."},
	}
}
