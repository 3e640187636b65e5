package weatherlight

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal"
	"github.com/esper-lite/weatherlight/weatherlight/internal/shmsignal/shmsignaltest"
)

// eventful is a running service in which everything has happened once.
func eventful(t *testing.T, bus string) *running {
	t.Helper()
	return eventfulWith(t, bus, nil)
}

func eventfulWith(t *testing.T, bus string, extra map[string]string) *running {
	t.Helper()
	rollback, rollbackPath := shmsignaltest.Name(t)
	emergency, emergencyPath := shmsignaltest.Name(t)
	variables := map[string]string{
		"REDIS_URL": bus, "OONA_EMERGENCY_MAX_PER_MIN": "600",
		"TOLARIA_ROLLBACK_SIGNAL_NAME": "/" + rollback, "TOLARIA_EMERGENCY_SIGNAL_NAME": emergency,
	}
	maps.Copy(variables, extra)
	var service *Service
	overflow := func(trace supervise.Trace) {
		if trace.Step != bootList[1] {
			return
		}
		for service.telemetry.Dropped() == 0 { // one too many
			service.telemetry.Offer(telemetry.New("kasmina", "kasmina").Build())
		}
	}
	service, err := New(Config{Settings: loadSettings(t, variables), OnBoot: overflow})
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, service)
	broken := supervise.WorkerFunc(func(context.Context) error { return errBroken })
	policy := supervise.Policy{Base: time.Hour, Cap: time.Hour}
	if err := r.supervisor.Start(t.Context(), supervise.Spec{Name: "broken", Worker: broken, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	packet := telemetry.New("tamiyo", "tamiyo").Level(critical).
		Metric("tamiyo.gnn.feature_coverage.global.loss", 0.5, "ratio").
		Event("bsds_hazard_high", warning, "provenance", "URABRASK").Build()
	if err := r.bus.PublishTelemetry(t.Context(), packet, telemetry.Priority(packet)); err != nil {
		t.Fatal(err)
	}
	raise(t, r.signals, shmsignal.Rollback, rollbackPath, shmsignaltest.Rollback)
	// Of a level that leaves the runs as they are: a seed may germinate meanwhile.
	raise(t, r.signals, shmsignal.Emergency, emergencyPath, func(at uint64) []byte { return shmsignaltest.Emergency(2, at, "loss_spike") })
	// The alarms go to disk before they are counted, and to the bus after that.
	eventually(t, "all of it is counted", func() bool {
		counted := fmt.Sprint(telemetry.Values(r.figures(t.Context()), ""))
		return strings.Contains(counted, "tamiyo_total") && strings.Contains(counted, "emergency.detections_total") &&
			strings.Contains(counted, "emergency_published.src.weatherlight") && r.workers().BackingOff == 1
	})
	// A stop has no time for so many packets on a slow machine.
	eventually(t, "the packets are published", func() bool { return r.telemetry.Waiting() == 0 })
	return r
}

// raise raises a signal of shared memory until one falls into the cooldown after
// another.
func raise(t *testing.T, watch *shmsignal.Watch, kind shmsignal.Kind, path string, record func(at uint64) []byte) {
	t.Helper()
	at, skipped := int64(0), int64(0)
	for deadline := time.Now().Add(patience); skipped == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("each of %d signals was told of by itself", at)
		}
		at++
		if err := os.WriteFile(path, record(1000*uint64(at)), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the shared signal is taken", func() bool {
			stats := watch.Stats(kind)
			skipped = stats.Skipped
			return stats.Detections+skipped >= at
		})
	}
}

func wantHealth(t *testing.T, packet *leyline.TelemetryPacket, status leyline.HealthStatus, summary, mode, backingOff string) {
	t.Helper()
	health := packet.GetSystemHealth()
	if health.GetStatus() != status || health.GetSummary() != summary {
		t.Errorf("health %s %q, want %s %q", health.GetStatus(), health.GetSummary(), status, summary)
	}
	indicators := health.GetIndicators()
	if indicators["instance"] == "" {
		t.Errorf("the summary does not say whose it is: %v", indicators)
	}
	if indicators["system_mode"] != mode || indicators["workers_backing_off"] != backingOff || indicators["workers_running"] == "" {
		t.Errorf("indicators %v, want mode %s and %s backing off", indicators, mode, backingOff)
	}
	if packet.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO || packet.GetSourceSubsystem() != "weatherlight" {
		t.Errorf("packet of %s, level %s", packet.GetSourceSubsystem(), packet.GetLevel())
	}
}

func TestSummaryStillGoesOutWhileRedisIsDown(t *testing.T) {
	redis := redistest.Start(t)
	r := start(t, newService(t, map[string]string{"REDIS_URL": redis.URL, "WEATHERLIGHT_TELEMETRY_INTERVAL": "50ms"}))
	redis.Kill()
	got := metricsOf(r.summaryPacket(t.Context()))
	for _, name := range []string{"weatherlight.uptime_s", "urza.library.cache_size", "oona.publish_total", "weatherlight.telemetry.dropped_total"} {
		if _, found := got[name]; !found {
			t.Errorf("%s is missing without redis", name)
		}
	}
	if complete, found := got["oona.metrics_complete"]; !found || complete != 0 {
		t.Errorf("oona.metrics_complete is %v (found %v)", complete, found)
	}
	eventually(t, "summaries pile up for the bus", func() bool { return r.telemetry.Waiting() > 3 })
	redis.Restart()
	heard := listen(t, connect(t, redis.URL, "nissa"), "oona.telemetry", "nissa", leyline.BusMessageType_BUS_MESSAGE_TYPE_TELEMETRY)
	eventually(t, "the summary of the outage arrives", func() bool {
		for _, packet := range summaries(heard) {
			if metricsOf(packet)["oona.metrics_complete"] == 0 {
				return true
			}
		}
		return false
	})
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestSummaryDoesNotTakeASignalAway(t *testing.T) {
	name, path := shmsignaltest.Name(t)
	r := start(t, newService(t, map[string]string{"TOLARIA_EMERGENCY_SIGNAL_NAME": name}))
	if err := r.supervisor.StopWorker(t.Context(), workerSignals); err != nil {
		t.Fatal(err)
	}
	record := shmsignaltest.Emergency(4, 1, "oom")
	shmsignaltest.Write(t, path, record)
	if got := metricsOf(r.summaryPacket(t.Context()))["weatherlight.emergency.detections_total"]; got != 0 {
		t.Errorf("the summary counted %v signals", got)
	}
	content, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(content, record) {
		t.Errorf("after a summary the segment holds %x, %v", content, err)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
