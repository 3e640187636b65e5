package control

import (
	"maps"
	"slices"

	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
)

// Points tell of the seeds that this instance decided on, and what their records cost. On the
// bus they travel in packets of Kasmina.
func (r *Room) Points() []metrics.Point {
	points := []metrics.Point{
		{Name: "kasmina.record.conflicts_total", Value: float64(r.seeds.Conflicts() + r.control.Conflicts()), Unit: "count"},
		{Name: "kasmina.record.recovered_total", Value: float64(r.seeds.Recovered() + r.control.Recovered()), Unit: "count"},
	}
	for _, measured := range r.Counters().Points() {
		points = append(points, metrics.Point{
			Name: measured.GetName(), Value: measured.GetValue(), Unit: measured.GetUnit(),
			Labels: pairs(measured.GetAttributes()),
		})
	}
	return points
}

func pairs(attributes map[string]string) []string {
	list := make([]string, 0, 2*len(attributes))
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		list = append(list, name, attributes[name])
	}
	return list
}

// Series explain the points of records; those of seeds are Kasmina's.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "kasmina_record_conflicts_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Decisions of Kasmina or Tamiyo that were made anew, " +
				"because another instance had changed the run's record meanwhile."},
		{Name: "kasmina_record_recovered_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Messages found in a run's record, decided on and not published, as by an instance that died, and then published."},
	}
}
