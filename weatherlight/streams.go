package weatherlight

import (
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
)

// Streams are the streams of the bus under their configured names, for the
// service and for tools that look at its bus.
func Streams(set *settings.Settings) oona.Streams {
	streams := oona.DefaultStreams()
	streams.Normal = set.Oona.NormalStream
	streams.Emergency = set.Oona.EmergencyStream
	streams.Telemetry = set.Oona.TelemetryStream
	streams.Policy = set.Oona.PolicyStream
	return streams
}
