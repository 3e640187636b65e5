package control

import "github.com/esper-lite/weatherlight/telemetry"

// Figures tell of the seeds that this instance decided on, and what their records cost. On the
// bus they travel in packets of Kasmina.
func (r *Room) Figures() []telemetry.Figure {
	return append(r.Counters().Totals().Figures(),
		telemetry.Count("kasmina.record.conflicts_total", "Decisions of Kasmina or Tamiyo that were made anew, "+
			"because another instance had changed the run's record meanwhile.", r.seeds.Conflicts()+r.control.Conflicts()),
		telemetry.Count("kasmina.record.recovered_total",
			"Messages found in a run's record, decided on and not published, as by an instance that died, and then published.",
			r.seeds.Recovered()+r.control.Recovered()))
}
