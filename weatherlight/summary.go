package weatherlight

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
)

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

// workers sums up the workers as they are now.
func (s *Service) workers() health.Workers { return health.SumUp(s.supervisor.Status()) }

// summaryPacket reports on the whole service.
func (s *Service) summaryPacket(ctx context.Context) *leyline.TelemetryPacket {
	packet := telemetry.New("weatherlight", "weatherlight")
	for _, point := range s.points(ctx) {
		packet.Metric(point.Name, point.Value, point.Unit, point.Labels...)
	}
	workers := s.workers()
	if workers.Recent {
		packet.Event("worker_error", leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING,
			"last_error", workers.LastError,
			"last_error_ts", unixText(workers.LastErrorAt))
	}
	if reason := s.emergency.Reason(); reason != "" {
		packet.Event("emergency_last_reason", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, "reason", reason)
	}
	alarms := s.health.Alarms()
	reportAlarms(packet, alarms)
	if nissa := s.nissa.Status(); nissa != nil {
		packet.Indicator("nissa", nissa.State)
	}
	s.tamiyo.indicate(packet)
	status, summary := health.Overall(workers, alarms)
	return packet.Health(status, summary).
		Indicator("workers_running", strconv.Itoa(workers.Running)).
		Indicator("workers_backing_off", strconv.Itoa(workers.BackingOff)).
		Indicator("system_mode", workers.Mode()).
		Build()
}
