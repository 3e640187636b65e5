package weatherlight

import (
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// alarm is one emergency or rollback on its way into telemetry. It may stand
// for several triggers that came close together.
type alarm struct {
	level   leyline.EmergencyLevel
	reason  string
	origin  string
	latency time.Duration // from the trigger until it was seen
	// untimed says that the latency is not known.
	untimed bool
	// atMs is the trigger on this machine's monotonic clock; 0 is unknown.
	atMs     uint64
	triggers int
}

// merged stands for both alarms: the higher level wins, and of equal ones the
// earlier.
func (a alarm) merged(later alarm) alarm {
	triggers := a.triggers + later.triggers
	if later.level > a.level {
		a = later
	}
	a.triggers = triggers
	return a
}

// emergencyPacket reports an emergency.
func (a alarm) emergencyPacket() *leyline.TelemetryPacket {
	level := strconv.Itoa(int(a.level))
	attributes := a.counted("reason", a.reason, "origin", a.origin, "level", level)
	packet := telemetry.New("weatherlight", "weatherlight-emergency").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Metric("weatherlight.emergency.level", float64(a.level), "count").
		Event("emergency_signal_received", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, attributes...).
		Health(leyline.HealthStatus_HEALTH_STATUS_CRITICAL, "emergency_detected").
		Indicator(telemetry.PriorityIndicator, leyline.MessagePriority_MESSAGE_PRIORITY_CRITICAL.String()).
		Indicator("origin", a.origin)
	if !a.untimed {
		packet.Metric("weatherlight.emergency.latency_ms", a.latency.Seconds()*1e3, "ms")
	}
	return packet.Build()
}

// rollbackPacket reports that a trainer missed its deadline and rolled back.
func (a alarm) rollbackPacket() *leyline.TelemetryPacket {
	return telemetry.New("weatherlight", "weatherlight-rollback-signal").
		Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).
		Metric("weatherlight.rollback.deadline_latency_ms", a.latency.Seconds()*1e3, "ms").
		Event("rollback_deadline_triggered", leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, a.counted()...).
		Health(leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "").
		Indicator(telemetry.PriorityIndicator, leyline.MessagePriority_MESSAGE_PRIORITY_HIGH.String()).
		Build()
}

// counted adds how many triggers the alarm stands for, when it is not one.
func (a alarm) counted(attributes ...string) []string {
	if a.triggers < 2 {
		return attributes
	}
	return append(attributes, "triggers", strconv.Itoa(a.triggers))
}

// damper keeps a storm of alarms apart by a cooldown. The first goes through,
// and so does one of a higher level; the others become one alarm that goes
// through when the cooldown is over.
type damper struct {
	cooldown time.Duration

	lastAt    time.Time
	lastLevel leyline.EmergencyLevel
	held      *alarm
}

// take returns the alarm to report now, or nil when it is held.
func (d *damper) take(a alarm, now time.Time) *alarm {
	calm := now.Sub(d.lastAt) >= d.cooldown
	if !calm && a.level <= d.lastLevel {
		d.keep(a)
		return nil
	}
	d.keep(a)
	return d.pass(now)
}

// keep holds an alarm back, together with what is held already.
func (d *damper) keep(a alarm) {
	if d.held != nil {
		a = d.held.merged(a)
	}
	d.held = &a
}

// due returns what is held once the cooldown is over.
func (d *damper) due(now time.Time) *alarm {
	if d.held == nil || now.Sub(d.lastAt) < d.cooldown {
		return nil
	}
	return d.pass(now)
}

func (d *damper) pass(now time.Time) *alarm {
	passed := d.release()
	d.lastAt, d.lastLevel = now, passed.level
	return passed
}

// release returns what is held, whatever the time.
func (d *damper) release() *alarm {
	released := d.held
	d.held = nil
	return released
}

// wait is the time until what is held is due, and long when nothing is.
func (d *damper) wait(now time.Time) time.Duration {
	if d.held == nil {
		return time.Hour
	}
	return max(signalPoll, d.cooldown-now.Sub(d.lastAt))
}
