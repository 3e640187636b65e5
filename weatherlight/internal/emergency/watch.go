// Package emergency hears emergencies, from shared memory and from the bus.
//
// A [Watch] tells of each once, however often and on whichever way it comes, and hands it to
// the runs that it concerns. What comes through shared memory goes to the bus, durably: there
// it reaches the runs as any other does. The service owns one; the watch of shared memory and
// the consumer of the emergency stream call it.
package emergency

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

// Config says where emergencies go.
type Config struct {
	// Report takes over the packet that tells of an emergency; false means that it found no room.
	Report func(*leyline.TelemetryPacket) bool
	// Relay takes over messages until the bus has them.
	Relay func(context.Context, ...oona.Message) error
	// Act lets a run act on an emergency, or all runs when it is "".
	Act func(ctx context.Context, run string, e kasmina.Emergency) error
	// Instance is the name of this service on the bus.
	Instance string
	Logger   *slog.Logger
}

// Watch counts, tells of and hands on emergencies. One that comes through shared memory and
// from the bus, or twice, counts once.
type Watch struct {
	config Config

	mu          sync.Mutex
	detections  int64
	lastAt      time.Time
	lastLevel   leyline.EmergencyLevel
	lastReason  string
	packets     int64
	tamiyo      int64
	tamiyoAt    time.Time
	occurrences []occurrence
}

// New is a watch that has heard nothing.
func New(config Config) *Watch { return &Watch{config: config} }

// tellSignal tells of an emergency from the bus. Its latency is taken from wall
// clocks: the monotonic clocks of two hosts have nothing in common. An error
// means that the report found no room, and brings the signal back.
func (w *Watch) tellSignal(signal *leyline.EmergencySignal, id string) error {
	raised := alarm{
		Trigger: shmsignal.Trigger{
			Level: signal.GetLevel(), Reason: cmp.Or(signal.GetReason(), "unspecified"),
			AtMs: signal.GetMonotonicTimeMs(), Count: 1,
		},
		origin: "stream:" + signal.GetOrigin(), untimed: true, signal: id + "/" + signal.GetRunId(),
	}
	seen := occurrence{alarm: raised, id: id, run: signal.GetRunId()}
	if triggered := signal.GetTriggeredAt(); triggered.IsValid() {
		raised.Latency, raised.untimed = max(0, time.Since(triggered.AsTime())), false
	}
	if !w.raise(raised, seen) {
		return oona.Outage(fmt.Errorf("report emergency %q: telemetry queue is full", raised.Reason))
	}
	return nil
}

// tellShared tells of an emergency from shared memory. It returns false when the
// report found no room.
func (w *Watch) tellShared(trigger shmsignal.Trigger) bool {
	raised := alarm{Trigger: trigger, origin: sharedOrigin}
	raised.Reason = cmp.Or(raised.Reason, sharedOrigin)
	return w.raise(raised, occurrence{alarm: raised, id: sharedID(trigger)})
}

// raise reports an alarm and counts it, once.
func (w *Watch) raise(raised alarm, seen occurrence) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.ContainsFunc(w.occurrences, seen.same) {
		return true
	}
	if !w.config.Report(raised.packet()) {
		return false
	}
	w.detections++
	w.lastAt, w.lastLevel, w.lastReason = time.Now(), raised.Level, raised.Reason
	w.occurrences = append(w.occurrences, seen)
	if len(w.occurrences) > occurrencesKept {
		w.occurrences = slices.Delete(w.occurrences, 0, 1)
	}
	return true
}

// CountTelemetry counts an urgent packet of the emergency stream by where it came from. Our
// own are not counted: each would bring about the next.
func (w *Watch) CountTelemetry(packet *leyline.TelemetryPacket) {
	source := packet.GetSourceSubsystem()
	if source == "weatherlight" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets++
	if source == "tamiyo" {
		w.tamiyo++
		w.tamiyoAt = time.Now()
	}
}

// Figures are the counters so far, in the order of the prototype's table. Those
// that never counted are left out, as it does.
func (w *Watch) Figures() []telemetry.Figure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []telemetry.Figure{
		telemetry.Count("weatherlight.emergency.detections_total",
			"Emergencies reported, from the bus and from shared memory, each once.", w.detections).If(w.detections > 0),
		telemetry.Since("weatherlight.emergency.last_detect_ms_ago", "Time since the last emergency.", w.lastAt),
		telemetry.Measure("weatherlight.emergency.last_level", "count",
			"Level of the last emergency: 1 notice, 2 elevated, 3 conservative, 4 halt.", w.lastLevel).If(w.detections > 0),
		telemetry.Count("weatherlight.emergency.telemetry_total",
			"Urgent telemetry packets of others on the emergency stream.", w.packets).If(w.packets > 0),
		telemetry.Count("weatherlight.emergency.tamiyo_total", "Those of them that a Tamiyo sent.", w.tamiyo).If(w.tamiyo > 0),
		telemetry.Since("weatherlight.emergency.tamiyo_last_ms_ago", "Time since the last of Tamiyo's.", w.tamiyoAt),
	}
}

// Reason is that of the last signal, or empty.
func (w *Watch) Reason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastReason
}
