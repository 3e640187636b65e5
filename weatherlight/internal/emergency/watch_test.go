package emergency

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/esper-lite/weatherlight/kasmina"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
)

const (
	halt   = leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT
	notice = leyline.EmergencyLevel_EMERGENCY_LEVEL_NOTICE
)

// watched is a Watch, with what it told, relayed and let runs act on.
type watched struct {
	*Watch

	packets []*leyline.TelemetryPacket
	full    bool // no room for packets
	relayed []oona.Message
	broken  error // of relaying
	acted   []kasmina.Emergency
	refused error // of acting
	entries int   // of the stream
}

func newWatched() *watched {
	w := &watched{}
	w.Watch = New(Config{
		Report: func(packet *leyline.TelemetryPacket) bool {
			if w.full {
				return false
			}
			w.packets = append(w.packets, packet)
			return true
		},
		Relay: func(_ context.Context, messages ...oona.Message) error {
			if w.broken == nil {
				w.relayed = append(w.relayed, messages...)
			}
			return w.broken
		},
		Act: func(_ context.Context, _ string, e kasmina.Emergency) error {
			if w.refused == nil {
				w.acted = append(w.acted, e)
			}
			return w.refused
		},
		Instance: "one", Logger: slog.New(slog.DiscardHandler),
	})
	return w
}

func (w *watched) deliver(ctx context.Context, signal *leyline.EmergencySignal) error {
	w.entries++
	return w.redeliver(ctx, signal)
}

// redeliver brings a signal as the entry that was delivered last.
func (w *watched) redeliver(ctx context.Context, signal *leyline.EmergencySignal) error {
	messages, err := w.Signal(ctx, &oona.Delivery{ID: fmt.Sprintf("%d-0", w.entries), Payload: signal})
	if err == nil && messages != nil {
		return fmt.Errorf("sends %v", messages)
	}
	return err
}

func (w *watched) signal(t *testing.T, signal *leyline.EmergencySignal) {
	t.Helper()
	if err := w.deliver(t.Context(), signal); err != nil {
		t.Error(err)
	}
}

func (w *watched) points() map[string]float64 {
	found := map[string]float64{}
	for _, p := range telemetry.MetricPoints(w.Figures()) {
		found[p.Name] = p.Value
	}
	return found
}

func metricsOf(packet *leyline.TelemetryPacket) map[string]float64 {
	found := map[string]float64{}
	for _, metric := range packet.GetMetrics() {
		found[metric.GetName()] = metric.GetValue()
	}
	return found
}

func halted(at uint64, reason string) *leyline.EmergencySignal {
	return &leyline.EmergencySignal{
		Level: halt, Reason: reason, Origin: "tolaria", RunId: "run-1", MonotonicTimeMs: at, TriggeredAt: timestamppb.Now(),
	}
}

func TestOneEmergencyCountsOnceWhateverComesBack(t *testing.T) {
	w := newWatched()
	first := halted(1000, "oom")
	w.signal(t, first)
	w.signal(t, first) // delivered again
	for _, own := range w.packets {
		w.CountTelemetry(own) // our own report comes round
	}
	if !w.Shared(shmsignal.Trigger{Level: halt, Reason: "oom", AtMs: 1007, Count: 1}) { // the same in shared memory
		t.Error("a known emergency was not taken")
	}
	if got := w.points()["weatherlight.emergency.detections_total"]; got != 1 || len(w.packets) != 1 {
		t.Errorf("%v detections, %d packets of one emergency", got, len(w.packets))
	}
	if _, found := w.points()["weatherlight.emergency.telemetry_total"]; found {
		t.Error("our own packet was counted")
	}
}

func TestDifferentEmergenciesAllCount(t *testing.T) {
	w := newWatched()
	w.signal(t, halted(1000, "oom"))
	w.signal(t, halted(2000, "oom"))
	w.signal(t, halted(1000, "nan"))
	other := halted(1000, "oom")
	other.Level = notice
	w.signal(t, other)
	w.Shared(shmsignal.Trigger{Level: halt, Reason: "oom", AtMs: 9000, Count: 1})
	for range 2 {
		w.signal(t, &leyline.EmergencySignal{Level: halt, Reason: "untimed", Origin: "x"})
	}
	if got := w.points()["weatherlight.emergency.detections_total"]; got != 7 {
		t.Errorf("%v detections, want 7", got)
	}
}

func TestOccurrencesAreBounded(t *testing.T) {
	w := newWatched()
	for i := range uint64(10 * occurrencesKept) {
		w.signal(t, halted(1000*i, "storm"))
	}
	if got := len(w.occurrences); got != occurrencesKept {
		t.Errorf("%d occurrences are kept", got)
	}
}

func TestEmergencyComesBackWhenTelemetryIsFull(t *testing.T) {
	w := newWatched()
	w.full = true
	signal := halted(1000, "oom")
	if err := w.deliver(t.Context(), signal); err == nil {
		t.Error("an emergency without a report was acknowledged")
	}
	w.full = false
	w.signal(t, signal)
	if got := w.points()["weatherlight.emergency.detections_total"]; got != 1 {
		t.Errorf("%v detections", got)
	}
}

func TestEmergencyPacketSaysWhatTheDashboardsRead(t *testing.T) {
	w := newWatched()
	signal := halted(1, "oom")
	signal.TriggeredAt = timestamppb.New(time.Now().Add(-time.Second))
	w.signal(t, signal)
	packet := w.packets[0]
	got := metricsOf(packet)
	if latency := got["weatherlight.emergency.latency_ms"]; latency < 1000 || latency > 60_000 {
		t.Errorf("latency %v ms by the wall clock", latency)
	}
	delete(got, "weatherlight.emergency.latency_ms")
	if diff := cmp.Diff(map[string]float64{"weatherlight.emergency.level": 4}, got); diff != "" {
		t.Error("metrics (-want +got):", diff)
	}
	event := packet.GetEvents()[0]
	if event.GetDescription() != "emergency_signal_received" || event.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL {
		t.Errorf("event %v", event)
	}
	attributes := map[string]string{"reason": "oom", "origin": "stream:tolaria", "level": "4"}
	if diff := cmp.Diff(attributes, event.GetAttributes()); diff != "" {
		t.Error("attributes (-want +got):", diff)
	}
	health := packet.GetSystemHealth()
	indicators := map[string]string{"priority": "MESSAGE_PRIORITY_CRITICAL", "origin": "stream:tolaria"}
	if diff := cmp.Diff(indicators, health.GetIndicators()); diff != "" {
		t.Error("indicators (-want +got):", diff)
	}
	if health.GetStatus() != leyline.HealthStatus_HEALTH_STATUS_CRITICAL || health.GetSummary() != "emergency_detected" {
		t.Errorf("health %v", health)
	}
	if packet.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL || packet.GetSourceSubsystem() != "weatherlight" {
		t.Errorf("packet %v", packet)
	}
}

func TestSharedEmergencyHasItsOriginAndADefaultReason(t *testing.T) {
	w := newWatched()
	w.Shared(shmsignal.Trigger{Level: notice, Latency: 3 * time.Millisecond, AtMs: 1, Count: 2})
	want := map[string]string{"reason": "shared_signal", "origin": "shared_signal", "level": "1", "triggers": "2"}
	if diff := cmp.Diff(want, w.packets[0].GetEvents()[0].GetAttributes()); diff != "" {
		t.Error("attributes (-want +got):", diff)
	}
	if got := metricsOf(w.packets[0])["weatherlight.emergency.latency_ms"]; got != 3 {
		t.Errorf("latency %v ms", got)
	}
	if w.Reason() != "shared_signal" {
		t.Errorf("last reason %q", w.Reason())
	}
}

func TestRollbackPacketsAreToldApart(t *testing.T) {
	raised := shmsignal.Trigger{Latency: 4 * time.Millisecond, Count: 1}
	first, second := RollbackPacket(raised), RollbackPacket(raised)
	if first.GetPacketId() == second.GetPacketId() {
		t.Error("two rollbacks have one id")
	}
	for _, packet := range []*leyline.TelemetryPacket{first, second} {
		if prefix := "weatherlight-rollback-signal-"; len(packet.GetPacketId()) != len(prefix)+36 || packet.GetPacketId()[:len(prefix)] != prefix {
			t.Errorf("id %q", packet.GetPacketId())
		}
	}
	if diff := cmp.Diff(map[string]float64{"weatherlight.rollback.deadline_latency_ms": 4}, metricsOf(first)); diff != "" {
		t.Error("metrics (-want +got):", diff)
	}
	event, health := first.GetEvents()[0], first.GetSystemHealth()
	if event.GetDescription() != "rollback_deadline_triggered" || event.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL {
		t.Errorf("event %v", event)
	}
	if health.GetStatus() != leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY || telemetry.Priority(first) != leyline.MessagePriority_MESSAGE_PRIORITY_HIGH {
		t.Errorf("health %v", health)
	}
}

func TestUrgentTelemetryOfOthersIsCountedAndNotEchoed(t *testing.T) {
	w := newWatched()
	for _, source := range []string{"tamiyo", "kasmina", "tamiyo", "weatherlight"} {
		packet := telemetry.New(source, source).Level(leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL).Build()
		w.CountTelemetry(packet)
	}
	got := w.points()
	if _, found := got["weatherlight.emergency.last_level"]; found || len(w.packets) != 0 {
		t.Error("a telemetry level was taken for an emergency level, or echoed")
	}
	if got["weatherlight.emergency.telemetry_total"] != 3 || got["weatherlight.emergency.tamiyo_total"] != 2 {
		t.Errorf("points %v", got)
	}
}
