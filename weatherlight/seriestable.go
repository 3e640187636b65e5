package weatherlight

import (
	"slices"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/tezzeret"
	"github.com/esper-lite/weatherlight/urza"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

// seriesGroup is the part of the table of series that one subsystem has.
type seriesGroup struct {
	title string
	rows  []telemetry.Series
}

// seriesGroups is the whole table, in the order of the page.
func seriesGroups() []seriesGroup {
	return []seriesGroup{
		{"The service", slices.Concat(serviceSeries(), health.WorkerSeries(), fleet.Series(), telemetryqueue.Series(), maintenance.Series())},
		{"Signals and alarms", slices.Concat(health.Series(), emergency.Series(), signalSeries(), mirrorSeries())},
		{"The bus", oona.Series()},
		{"Kernel requests and the kernel library", urza.Series()},
		{"The forge", tezzeret.Series()},
		{"The blueprint catalogue", karn.Series()},
		{"Field reports", tamiyo.Series()},
		{"Seeds and commands", slices.Concat(kasmina.Series(), recordSeries(), telemetryqueue.SeedSeries())},
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

// serviceSeries are what the service tells of itself.
func serviceSeries() []telemetry.Series {
	return []telemetry.Series{
		{Name: "weatherlight_uptime_s", Kind: telemetry.Gauge, Unit: "seconds", Meaning: "Time since the start."},
		{Name: "oona_metrics_complete", Kind: telemetry.Gauge, Unit: "bool",
			Meaning: "1 when the bus could be asked; at 0, backlogs, depths and losses are missing."},
	}
}

// signalSeries are the counters of signals, absent before the first.
func signalSeries() []telemetry.Series {
	return []telemetry.Series{
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
	}
}
