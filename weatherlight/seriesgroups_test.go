package weatherlight

import (
	"slices"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/oona/outbox"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tamiyo/fieldreport"
	"github.com/esper-lite/weatherlight/tamiyo/policy"
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
	"github.com/esper-lite/weatherlight/weatherlight/preflight"
)

// seriesGroup is the part of the table of series that one subsystem has.
type seriesGroup struct {
	title string
	rows  []telemetry.Series
}

// seriesGroups is the whole table, in the order of the page: what the parts declare
// before anything has happened, as /metrics shows it.
func seriesGroups() []seriesGroup {
	groups := declaredGroups()
	for _, group := range groups {
		for i, row := range group.rows {
			group.rows[i], _ = row.Exposed()
		}
	}
	return groups
}

func declaredGroups() []seriesGroup {
	return []seriesGroup{
		{"The service", telemetry.Declared(
			metrics.Built(), uptime(0), health.Workers{Table: make([]supervise.Status, 1)}.Figures(), new(fleet.Fleet).Figures(),
			new(telemetryqueue.Queue).Figures(), telemetryqueue.Waiting(0, 0, nil),
			maintenance.New(maintenance.Config{}, make([]maintenance.Job, 1)).Figures(),
		)},
		{"Signals and alarms", telemetry.Declared(
			idleMonitor().Figures(), new(emergency.Watch).Figures(),
			new(shmsignal.Watch).Figures(), new(summary.Mirror).Figures(),
		)},
		{"The bus", append(
			telemetry.Declared([]telemetry.Figure{metrics.Complete(true), oona.Refused(nil)}, oona.Stats{}.Figures()),
			oona.LatencySeries(),
		)},
		{"Kernel requests and the kernel library", telemetry.Declared(urza.PrefetchStats{}.Figures(), urza.Stats{}.Figures())},
		{"The forge", telemetry.Declared(forge.Stats{}.Figures())},
		{"The blueprint catalogue", telemetry.Declared(karn.Stats{}.Figures())},
		{"Field reports", telemetry.Declared(new(fieldreport.Log).Figures())},
		{"Policies", telemetry.Declared(new(policy.Store).Figures())},
		{"Seeds and commands", telemetry.Declared(control.New(control.Config{}).Figures())},
	}
}

// idleMonitor has parts to look at, and never does.
func idleMonitor() *health.Monitor {
	return health.New(health.Config{
		Bus: new(oona.Client), Server: preflight.Running{}, Outbox: new(outbox.Outbox),
		Telemetry: new(telemetryqueue.Queue), Runs: new(control.Room),
	})
}

// packetSeries are the points that travel in packets of their own and are not on
// /metrics. Their names are those that Nissa shows, without its label source.
func packetSeries() []telemetry.Series {
	return slices.Concat(emergency.PacketSeries(), kasmina.PacketSeries(), tamiyo.PacketSeries())
}
