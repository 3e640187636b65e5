package weatherlight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/weatherlight/internal/metrics"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

const (
	// sharedOrigin marks alarms that came through shared memory.
	sharedOrigin = "shared_signal"
	// sightingsKept bounds how many alarms are remembered to know them again.
	sightingsKept = 64
	// sightingSpreadMs is how far apart a trainer may stamp one emergency that it
	// raises both in shared memory and on the bus.
	sightingSpreadMs = 100
)

// emergencyWatch counts and reports emergencies, from the bus and from shared
// memory. One that comes both ways, or twice, counts once.
type emergencyWatch struct {
	// offer queues a packet; false means that it found no room.
	offer func(*leyline.TelemetryPacket) bool

	mu         sync.Mutex
	detections int64
	lastAt     time.Time
	lastLevel  leyline.EmergencyLevel
	lastReason string
	packets    int64
	tamiyo     int64
	tamiyoAt   time.Time
	sightings  []sighting
}

func newEmergencyWatch(offer func(*leyline.TelemetryPacket) bool) *emergencyWatch {
	return &emergencyWatch{offer: offer}
}

// Signal takes an emergency from the bus. Its latency is taken from wall
// clocks: the monotonic clocks of two hosts have nothing in common. An error
// means that the report found no room, and brings the signal back.
func (e *emergencyWatch) Signal(_ context.Context, signal *leyline.EmergencySignal) ([]oona.Message, error) {
	raised := alarm{
		Trigger: shmsignal.Trigger{
			Level: signal.GetLevel(), Reason: cmp.Or(signal.GetReason(), "unspecified"),
			AtMs: signal.GetMonotonicTimeMs(), Count: 1,
		},
		origin: "stream:" + signal.GetOrigin(), untimed: true,
	}
	seen := sighting{alarm: raised, run: signal.GetRunId()}
	if triggered := signal.GetTriggeredAt(); triggered.IsValid() {
		seen.wall = triggered.AsTime()
		raised.Latency, raised.untimed = max(0, time.Since(seen.wall)), false
	}
	if !e.raise(raised, seen) {
		return nil, fmt.Errorf("report emergency %q: telemetry queue is full", raised.Reason)
	}
	return nil, nil
}

// Shared takes an emergency from shared memory. It returns false when the
// report found no room.
func (e *emergencyWatch) Shared(trigger shmsignal.Trigger) bool {
	raised := alarm{Trigger: trigger, origin: sharedOrigin}
	raised.Reason = cmp.Or(raised.Reason, sharedOrigin)
	return e.raise(raised, sighting{alarm: raised})
}

// raise reports an alarm and counts it, once.
func (e *emergencyWatch) raise(raised alarm, seen sighting) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if slices.ContainsFunc(e.sightings, seen.same) {
		return true
	}
	if !e.offer(raised.emergencyPacket()) {
		return false
	}
	e.detections++
	e.lastAt, e.lastLevel, e.lastReason = time.Now(), raised.Level, raised.Reason
	e.sightings = append(e.sightings, seen)
	if len(e.sightings) > sightingsKept {
		e.sightings = slices.Delete(e.sightings, 0, 1)
	}
	return true
}

// sighting is what tells one emergency from another.
type sighting struct {
	alarm

	run  string
	wall time.Time
}

// same reports whether two sightings are of one emergency: the same message
// again, or the one in shared memory and the other on the bus. A signal without
// any time is never the same as another.
func (s sighting) same(other sighting) bool {
	if s.Level != other.Level {
		return false
	}
	if s.origin == other.origin {
		timed := s.AtMs != 0 || !s.wall.IsZero()
		return timed && s.AtMs == other.AtMs && s.wall.Equal(other.wall) && s.run == other.run && s.Reason == other.Reason
	}
	if s.origin != sharedOrigin && other.origin != sharedOrigin || s.AtMs == 0 || other.AtMs == 0 {
		return false
	}
	spread := max(s.AtMs, other.AtMs) - min(s.AtMs, other.AtMs)
	return spread <= sightingSpreadMs && sharedReason(s.Reason) == sharedReason(other.Reason)
}

// sharedReason is a reason as far as it fits into shared memory.
func sharedReason(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), shmsignal.MaxReason)], "")
}

// Telemetry counts an urgent packet by where it came from. It publishes
// nothing, and ignores our own packets: each would bring about the next.
func (e *emergencyWatch) Telemetry(_ context.Context, packet *leyline.TelemetryPacket) ([]oona.Message, error) {
	source := packet.GetSourceSubsystem()
	if source == "weatherlight" {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.packets++
	if source == "tamiyo" {
		e.tamiyo++
		e.tamiyoAt = time.Now()
	}
	return nil, nil
}

// points are the counters so far, in the order of the prototype's table. Those
// that never counted are left out, as it does.
func (e *emergencyWatch) points() []metrics.Point {
	e.mu.Lock()
	defer e.mu.Unlock()
	var points []metrics.Point
	if e.detections > 0 {
		points = append(points,
			metrics.Point{Name: "weatherlight.emergency.detections_total", Value: float64(e.detections), Unit: "count"},
			metrics.Point{Name: "weatherlight.emergency.last_detect_ms_ago", Value: sinceMs(e.lastAt), Unit: "ms"},
			metrics.Point{Name: "weatherlight.emergency.last_level", Value: float64(e.lastLevel), Unit: "count"})
	}
	if e.packets > 0 {
		points = append(points, metrics.Point{Name: "weatherlight.emergency.telemetry_total", Value: float64(e.packets), Unit: "count"})
	}
	if e.tamiyo > 0 {
		points = append(points,
			metrics.Point{Name: "weatherlight.emergency.tamiyo_total", Value: float64(e.tamiyo), Unit: "count"},
			metrics.Point{Name: "weatherlight.emergency.tamiyo_last_ms_ago", Value: sinceMs(e.tamiyoAt), Unit: "ms"})
	}
	return points
}

// reason is that of the last signal, or empty.
func (e *emergencyWatch) reason() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastReason
}

func sinceMs(t time.Time) float64 { return time.Since(t).Seconds() * 1e3 }
