package weatherlight

// serviceSeries are the workers, the single jobs and what the service sends.
func serviceSeries() []seriesRow {
	return []seriesRow{
		{"weatherlight_uptime_s", "", kindGauge, "seconds", "Time since the start."},
		{"weatherlight_tasks_running", "", kindGauge, "count", "Workers that run or start."},
		{"weatherlight_tasks_backing_off", "", kindGauge, "count",
			"Workers that wait after a failure or whose circuit is open; more than 0 means degraded."},
		{"weatherlight_restarts_total", "", kindCounter, "count", "Restarts of all workers."},
		{"weatherlight_last_error_ts", "", kindGauge, "unix_s",
			"When a worker last failed. Absent before the first failure."},
		{"weatherlight_worker_running", "worker", kindGauge, "bool", "1 while the worker runs."},
		{"weatherlight_worker_restarts", "worker", kindRising, "count", "Restarts of the worker."},
		{"weatherlight_worker_backoff_seconds", "worker", kindGauge, "seconds",
			"Pause that the worker makes after its failure. Absent without one."},
		{"weatherlight_leader", "", kindGauge, "bool", "1 while this instance does the jobs that are done once."},
		{"weatherlight_leader_token", "", kindGauge, "count",
			"Fencing number of this instance's lead, higher with each leader; 0 while another leads."},
		{"weatherlight_leader_takeovers_total", "", kindCounter, "count", "Times that this instance began to lead."},
		{"weatherlight_lease_failures_total", "", kindCounter, "count",
			"Signs of life of this instance that Redis did not take in time."},
		{"weatherlight_instances", "", kindGauge, "count", "Live instances on the bus, this one among them."},
		{"weatherlight_outbox_waiting", "", kindGauge, "count", "Messages on disk that the bus has not taken yet."},
		{"weatherlight_outbox_refused", "", kindGauge, "count", "Messages on disk that the bus refused for good."},
		{"weatherlight_telemetry_published_total", "priority", kindCounter, "count",
			"Telemetry packets sent. A priority is absent before its first."},
		{"weatherlight_telemetry_publish_failures_total", "", kindCounter, "count",
			"Telemetry packets that the bus refused for their own sake; they are lost."},
		{"weatherlight_telemetry_dropped_total", "", kindCounter, "count",
			"Telemetry packets that found no room in the queue; they are lost."},
		{"weatherlight_housekeeping_runs_total", "chore", kindCounter, "count", "Runs of the chore by this instance."},
		{"weatherlight_housekeeping_failures_total", "chore", kindCounter, "count", "Runs of the chore that failed."},
		{"weatherlight_housekeeping_duration_ms", "chore", kindGauge, "ms", "Time of the chore's last run."},
		{"weatherlight_housekeeping_result", "chore,item", kindGauge, "count",
			"What the chore's last run came to; the list of chores has the items. Absent before the first run."},
	}
}

// signalSeries are what needs somebody's eyes. The counters of signals are absent
// before the first.
func signalSeries() []seriesRow {
	return []seriesRow{
		{"weatherlight_alarm", "alarm", kindGauge, "count", "Alarms of this kind that are raised now; 0 is well."},
		{"weatherlight_emergency_detections_total", "", kindCounter, "count",
			"Emergencies reported, from the bus and from shared memory, each once."},
		{"weatherlight_emergency_last_detect_ms_ago", "", kindGauge, "ms", "Time since the last emergency."},
		{"weatherlight_emergency_last_level", "", kindGauge, "count",
			"Level of the last emergency: 1 notice, 2 elevated, 3 conservative, 4 halt."},
		{"weatherlight_emergency_skipped_total", "", kindCounter, "count",
			"Emergency signals of shared memory that came too soon after another; those are reported together, as one."},
		{"weatherlight_emergency_telemetry_total", "", kindCounter, "count",
			"Urgent telemetry packets of others on the emergency stream."},
		{"weatherlight_emergency_tamiyo_total", "", kindCounter, "count", "Those of them that a Tamiyo sent."},
		{"weatherlight_emergency_tamiyo_last_ms_ago", "", kindGauge, "ms", "Time since the last of Tamiyo's."},
		{"weatherlight_rollback_detections_total", "", kindCounter, "count",
			"Rollback signals of shared memory that were reported."},
		{"weatherlight_rollback_last_detect_ms_ago", "", kindGauge, "ms", "Time since the last rollback signal."},
		{"weatherlight_rollback_skipped_total", "", kindCounter, "count",
			"Rollback signals that came too soon after another; those are reported together, as one."},
		{"weatherlight_tamiyo_coverage_<feature>", "", kindGauge, "ratio",
			"Share of the feature that a trainer's Tamiyo saw, as its last packet said. Absent without one."},
	}
}
