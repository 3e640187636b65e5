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
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
	"github.com/esper-lite/weatherlight/weatherlight/internal/emergency"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
	"github.com/esper-lite/weatherlight/weatherlight/internal/maintenance"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
	"github.com/esper-lite/weatherlight/weatherlight/internal/summary"
	"github.com/esper-lite/weatherlight/weatherlight/internal/telemetryqueue"
)

// seriesGroup is the part of the table of series that one subsystem has.
type seriesGroup struct {
	title string
	rows  []telemetry.Series
}

// seriesGroups is the whole table, in the order of the page.
func seriesGroups() []seriesGroup {
	uptime := []telemetry.Series{
		{Name: "weatherlight_uptime_s", Kind: telemetry.Gauge, Unit: "seconds", Meaning: "Time since the start."},
	}
	return []seriesGroup{
		{"The service", slices.Concat(
			uptime, health.WorkerSeries(), fleet.Series(), metrics.BusSeries(), telemetryqueue.Series(), maintenance.Series(),
		)},
		{"Signals and alarms", slices.Concat(health.Series(), emergency.Series(), shmsignal.Series(), summary.Series())},
		{"The bus", oona.Series()},
		{"Kernel requests and the kernel library", urza.Series()},
		{"The forge", forge.Series()},
		{"The blueprint catalogue", karn.Series()},
		{"Field reports", fieldreport.Series()},
		{"Seeds and commands", slices.Concat(kasmina.Series(), control.Series(), telemetryqueue.SeedSeries())},
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
