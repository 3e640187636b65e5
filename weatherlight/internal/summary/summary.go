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
	"github.com/esper-lite/weatherlight/weatherlight/internal/nissawatch"
)

const (
	// maxPoints bounds the points of a packet in bytes, roughly, and maxAlarms its alarms:
	// one that does not fit the bus would not be sent at all.
	maxPoints = 128 << 10
	maxAlarms = 64
	// maxDetail bounds what is said of one alarm, in bytes.
	maxDetail = 512
	// pointSize is what a point takes beside its texts.
	pointSize = 32
)

// Summary is what there is to report.
type Summary struct {
	Instance  string // which of several on the bus reports
	Figures   []telemetry.Figure
	Exposed   bool // the service shows them to Prometheus itself
	Workers   health.Workers
	Alarms    []health.Alarm
	Nissa     *nissawatch.Status // nil: there is none to ask
	Boot      string             // what the boot came to; empty while it is not over
	Emergency string             // the reason of the last one, or empty
	Mirror    *Mirror
}

// reportAlarms names the raised alarms in the health block, and each in an event
// of its own.
func reportAlarms(packet *telemetry.Packet, alarms []health.Alarm) {
	if len(alarms) == 0 {
		return
	}
	var names []string
	for _, alarm := range alarms[:min(len(alarms), maxAlarms)] {
		if !slices.Contains(names, alarm.Name) {
			names = append(names, alarm.Name)
		}
		packet.Event("alarm", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"alarm", alarm.Name, "subject", alarm.Subject, "severity", string(alarm.Severity),
			"since", unixText(alarm.Since), "detail", strings.ToValidUTF8(alarm.Detail[:min(len(alarm.Detail), maxDetail)], ""))
	}
	packet.Indicator("alarms", strings.Join(names, ","))
}

// unixText is a time in seconds with three decimals.
func unixText(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1e3, 'f', 3, 64)
}

// fitting are the points that a packet has room for.
func fitting(points []*leyline.MetricPoint) []*leyline.MetricPoint {
	size := 0
	for i, point := range points {
		size += pointSize + len(point.GetName()) + len(point.GetUnit())
		for label, text := range point.GetAttributes() {
			size += len(label) + len(text) + pointSize/2
		}
		if size > maxPoints {
			return points[:i]
		}
	}
	return points
}

// Packet reports it. What does not fit is left out and counted.
func (s Summary) Packet() *leyline.TelemetryPacket {
	points := telemetry.MetricPoints(s.Figures)
	shown := fitting(points)
	packet := telemetry.New("weatherlight", "weatherlight").Metrics(shown...)
	if left := len(points) - len(shown) + max(0, len(s.Alarms)-maxAlarms); left > 0 {
		packet.Metric("weatherlight.summary.left_out", float64(left), "count")
	}
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
	if s.Boot != "" {
		packet.Indicator("boot", s.Boot)
	}
	if s.Exposed {
		packet.Indicator("metrics", "exposed")
	}
	s.Mirror.indicate(packet)
	status, summary := s.Workers.Overall(s.Alarms)
	return packet.Health(status, summary).
		Indicator("instance", s.Instance).
		Indicator("workers_running", strconv.Itoa(s.Workers.Running)).
		Indicator("workers_backing_off", strconv.Itoa(s.Workers.BackingOff)).
		Indicator("system_mode", s.Workers.Mode()).
		Build()
}
