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

// seedSeries are what this instance has decided on seeds. What a record says of its
// run travels in Kasmina's own packets.
func seedSeries() []seriesRow {
	return []seriesRow{
		{"kasmina_command_verifier_accepted_total", "", kindCounter, "count",
			"Commands whose signature, id and time were in order and that were carried out."},
		{"kasmina_command_verifier_rejections_total", "reason", kindCounter, "count",
			"Commands refused, for what they are or for what they ask. A reason is absent before its first."},
		{"kasmina_command_verifier_validation_latency_ms", "", kindGauge, "ms",
			"Time of the last command's verification. Absent before it."},
		{"kasmina_nonce_ledger_evictions_total", "", kindCounter, "count",
			"Ids of commands that were forgotten, for their age or for want of room."},
		{"kasmina_reports_ignored_total", "reason", kindCounter, "count",
			"Reports of trainers that nothing was done for: stale, repeated, unnamed, empty, retired (the run was taken over), " +
				"second (another trainer leads the run), bare (it tells of no seeds, and the run has a trainer that does). " +
				"A reason is absent before its first."},
		{"kasmina_orders_total", "kind", kindCounter, "count",
			"Orders to trainers, those sent again among them. A kind is absent before its first."},
		{"kasmina_orders_resent_total", "", kindCounter, "count",
			"Orders sent again, because a trainer had not read them or showed no effect."},
		{"kasmina_gates_total", "gate,passed", kindCounter, "count", "Gates that seeds came to. Absent before the first."},
		{"kasmina_culls_total", "reason", kindCounter, "count", "Seeds culled. A reason is absent before its first."},
		{"kasmina_isolation_violations_total", "", kindCounter, "count",
			"Reports in which a seed touched what is not its own, of all seeds."},
		{"kasmina_fallback_events_total", "", kindCounter, "count",
			"Germinations refused because they asked for a stand-in."},
		{"kasmina_prefetch_requests_total", "status", kindCounter, "count",
			"Kernel requests by what became of them: scheduled (all that were made), ready, error, timeout, " +
				"canceled (their seed left). A status is absent before its first."},
		{"kasmina_prefetch_unknown_total", "", kindCounter, "count", "Answers that no seed waited for any more."},
		{"kasmina_prefetch_latency_ms", "", kindGauge, "ms", "Mean time from a request to its answer. Absent before the first."},
		{"kasmina_prefetch_last_latency_ms", "", kindGauge, "ms", "Time from the last answered request to its answer. Absent before it."},
		{"kasmina_record_conflicts_total", "", kindCounter, "count",
			"Decisions of Kasmina or Tamiyo that were made anew, because another instance had changed the run's record meanwhile."},
		{"kasmina_record_recovered_total", "", kindCounter, "count",
			"Messages found in a run's record, decided on and not published, as by an instance that died, and then published."},
		{"kasmina_telemetry_events_dropped_total", "", kindCounter, "count",
			"Events of seeds that found no room in a packet."},
		{"kasmina_telemetry_dropped_total", "", kindCounter, "count",
			"Packets of Kasmina among weatherlight_telemetry_dropped_total. Absent before the first."},
	}
}
