// Package summary is the packet by which a service reports on itself as a whole.
//
// A [Summary] holds what was measured, and makes the packet of it; a [Mirror] keeps what it
// repeats of Tamiyo's packets. The service sends one once an interval, and a last one when it
// stops.
package summary

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
)

// Summary is what there is to report.
type Summary struct {
	Figures   []telemetry.Figure
	Workers   health.Workers
	Alarms    []health.Alarm
	Nissa     *health.NissaStatus // nil: there is none to ask
	Emergency string              // the reason of the last one, or empty
	Mirror    *Mirror
}

// reportAlarms names the raised alarms in the health block, and each in an event
// of its own.
func reportAlarms(packet *telemetry.Packet, alarms []health.Alarm) {
	if len(alarms) == 0 {
		return
	}
	var names []string
	for _, alarm := range alarms {
		if !slices.Contains(names, alarm.Name) {
			names = append(names, alarm.Name)
		}
		packet.Event("alarm", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"alarm", alarm.Name, "subject", alarm.Subject, "severity", string(alarm.Severity),
			"since", unixText(alarm.Since), "detail", alarm.Detail)
	}
	packet.Indicator("alarms", strings.Join(names, ","))
}

// unixText is a time in seconds with three decimals.
func unixText(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}

// Packet reports it.
func (s Summary) Packet() *leyline.TelemetryPacket {
	packet := telemetry.New("weatherlight", "weatherlight").Figures(s.Figures...)
	if s.Workers.Recent {
		packet.Event("worker_error", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"last_error", s.Workers.LastError,
			"last_error_ts", unixText(s.Workers.LastErrorAt))
	}
	if s.Emergency != "" {
		packet.Event("emergency_last_reason", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "reason", s.Emergency)
	}
	reportAlarms(packet, s.Alarms)
	if s.Nissa != nil {
		packet.Indicator("nissa", s.Nissa.State)
	}
	s.Mirror.indicate(packet)
	status, summary := health.Overall(s.Workers, s.Alarms)
	return packet.Health(status, summary).
		Indicator("workers_running", strconv.Itoa(s.Workers.Running)).
		Indicator("workers_backing_off", strconv.Itoa(s.Workers.BackingOff)).
		Indicator("system_mode", s.Workers.Mode()).
		Build()
}
