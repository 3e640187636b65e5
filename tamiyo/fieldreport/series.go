package fieldreport

import "github.com/esper-lite/weatherlight/telemetry"

// Series are those of the log.
func Series() []telemetry.Series {
	return []telemetry.Series{
		{Name: "tamiyo_field_reports_published_total", Kind: telemetry.Counter, Unit: "count",
			Meaning: "Field reports that were handed to the outbox, from where they go to the bus."},
	}
}
