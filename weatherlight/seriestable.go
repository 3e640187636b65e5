package weatherlight

import (
	"slices"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// seriesGroup is the part of the table of series that one subsystem has.
type seriesGroup struct {
	title string
	rows  []telemetry.Series
}

// seriesGroups is the whole table, in the order of the page.
func seriesGroups() []seriesGroup {
	return []seriesGroup{
		{"The service", slices.Concat(serviceSeries(), maintenance.Series())},
		{"Signals and alarms", slices.Concat(emergency.Series(), signalSeries(), mirrorSeries())},
		{"The bus", oona.Series()},
		{"Kernel requests and the kernel library", urza.Series()},
		{"The forge", forge.Series()},
		{"The blueprint catalogue", karn.Series()},
		{"Field reports", fieldreport.Series()},
		{"Seeds and commands", append(kasmina.Series(), recordSeries()...)},
	}
}

// seriesTable explains the series of /metrics.
func seriesTable() *metrics.Table {
	var all []telemetry.Series
	for _, group := range seriesGroups() {
		all = append(all, group.rows...)
	}
	return metrics.NewTable(all)
}

// packetSeries are the points that travel in packets of their own and are not on
// /metrics. Their names are those that Nissa shows, without its label source.
func packetSeries() []telemetry.Series {
	return slices.Concat(emergency.PacketSeries(), kasmina.PacketSeries(), tamiyo.PacketSeries())
}

// serviceSeries are the workers, the single jobs and what the service sends.
func serviceSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_uptime_s", Kind: telemetry.Gauge, Unit: "seconds", Meaning: "Time since the start."},
		{Name: "weatherlight_tasks_running", Kind: telemetry.Gauge, Unit: "count", Meaning: "Workers that run or start."},
		{Name: "weatherlight_tasks_backing_off", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Workers that wait after a failure or whose circuit is open; more than 0 means degraded."},
		{Name: "weatherlight_restarts_total", Kind: telemetry.Counter, Unit: "count", Meaning: "Restarts of all workers."},
		{Name: "weatherlight_last_error_ts", Kind: telemetry.Gauge, Unit: "unix_s",
			Meaning: "When a worker last failed. Absent before the first failure."},
		{Name: "weatherlight_worker_running", Labels: "worker", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while the worker runs."},
		{Name: "weatherlight_worker_restarts", Labels: "worker", Kind: telemetry.Rising, Unit: "count",
			Meaning: "Restarts of the worker."},
		{Name: "weatherlight_worker_backoff_seconds", Labels: "worker", Kind: telemetry.Gauge, Unit: "seconds",
			Meaning: "Pause that the worker makes after its failure. Absent without one."},
		{Name: "weatherlight_leader", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 while this instance does the jobs that are done once."},
		{Name: "weatherlight_leader_token", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Fencing number of this instance's lead, higher with each leader; 0 while another leads."},
		{Name: "weatherlight_leader_takeovers_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Times that this instance began to lead."},
		{Name: "weatherlight_lease_failures_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Signs of life of this instance that Redis did not take in time."},
		{Name: "weatherlight_instances", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Live instances on the bus, this one among them."},
		{Name: "oona_metrics_complete", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 when the bus could be asked; at 0, backlogs, depths and losses are missing."},
		{Name: "weatherlight_outbox_waiting", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Messages on disk that the bus has not taken yet."},
		{Name: "weatherlight_outbox_refused", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Messages on disk that the bus refused for good."},
		{Name: "weatherlight_telemetry_published_total", Labels: "priority", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Telemetry packets sent. A priority is absent before its first."},
		{Name: "weatherlight_telemetry_publish_failures_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Telemetry packets that the bus refused for their own sake; they are lost."},
		{Name: "weatherlight_telemetry_dropped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Telemetry packets that found no room in the queue; they are lost."},
	}
}

// signalSeries are what needs somebody's eyes. The counters of signals are absent
// before the first.
func signalSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_alarm", Labels: "alarm", Kind: telemetry.Gauge, Unit: "count",
			Meaning: "Alarms of this kind that are raised now; 0 is well."},
		{Name: "weatherlight_emergency_skipped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Emergency signals of shared memory that came too soon after another; those are reported together, as one."},
		{Name: "weatherlight_rollback_detections_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Rollback signals of shared memory that were reported."},
		{Name: "weatherlight_rollback_last_detect_ms_ago", Kind: telemetry.Gauge, Unit: "ms",
			Meaning: "Time since the last rollback signal."},
		{Name: "weatherlight_rollback_skipped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Rollback signals that came too soon after another; those are reported together, as one."},
	}
}

// recordSeries are what the records of runs cost.
func recordSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "kasmina_record_conflicts_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Decisions of Kasmina or Tamiyo that were made anew, " +
				"because another instance had changed the run's record meanwhile."},
		{Name: "kasmina_record_recovered_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Messages found in a run's record, decided on and not published, as by an instance that died, and then published."},
		{Name: "kasmina_telemetry_dropped_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Packets of Kasmina among weatherlight_telemetry_dropped_total. Absent before the first."},
	}
}
