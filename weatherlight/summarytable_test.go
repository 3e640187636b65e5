package weatherlight

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/esper-lite/weatherlight/internal/redistest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/supervise"
)

// summaryMetric is a row of the table that dashboards are built on.
type summaryMetric struct {
	name, unit string
	later      bool // absent until what it counts has happened
}

// summaryMetrics is the table for a service in which everything has happened once.
func summaryMetrics(workers []string) []summaryMetric {
	const always, later = false, true
	rows := []summaryMetric{
		{"weatherlight.tasks.running", "count", always},
		{"weatherlight.tasks.backing_off", "count", always},
		{"weatherlight.uptime_s", "seconds", always},
		{"weatherlight.restarts_total", "count", always},
		{"weatherlight.last_error_ts", "unix_s", later},
		{"weatherlight.worker.broken.backoff_seconds", "seconds", later},
		{"urza.prefetch.hits", "count", always},
		{"urza.prefetch.misses", "count", always},
		{"urza.prefetch.errors", "count", always},
		{"urza.prefetch.latency_ms", "ms", always},
		{"weatherlight.rollback.detections_total", "count", later},
		{"weatherlight.rollback.skipped_total", "count", later},
		{"weatherlight.rollback.last_detect_ms_ago", "ms", later},
		{"weatherlight.emergency.detections_total", "count", later},
		{"weatherlight.emergency.skipped_total", "count", later},
		{"weatherlight.emergency.last_detect_ms_ago", "ms", later},
		{"weatherlight.emergency.telemetry_total", "count", later},
		{"weatherlight.emergency.tamiyo_total", "count", later},
		{"weatherlight.emergency.tamiyo_last_ms_ago", "ms", later},
		{"weatherlight.emergency.last_level", "count", later},
		{"weatherlight.tamiyo.coverage.global.loss", "ratio", later},
		{"kasmina.telemetry.dropped_total", "count", later},
		{"tezzeret.breaker.state", "", always},
		{"tezzeret.compile.running", "", always},
		{"oona.emergency_published.src.weatherlight", "", later},
		// Only where the rate is limited.
		{"oona.emergency_tokens_remaining", "", later},
		{"oona.emergency_refill_rate_per_s", "", later},
		{"oona.emergency_bucket_capacity_per_min", "", later},
	}
	for _, name := range workers {
		rows = append(rows,
			summaryMetric{"weatherlight.worker." + name + ".running", "bool", name == "broken"},
			summaryMetric{"weatherlight.worker." + name + ".restarts", "count", name == "broken"})
	}
	for name := range strings.FieldsSeq(`cache_hits cache_misses cache_errors cache_expired lookup_latency_ms evictions
		integrity_failures slow_queries breaker_open_total breaker_denied breaker_state conservative_mode cache_size
		query_duration_ms`) {
		rows = append(rows, summaryMetric{"urza.library." + name, "", always})
	}
	for name := range strings.FieldsSeq(`requests.total requests.failed breaker.denied breaker.open_total breaker.state
		selection.safe selection.experimental selection.adversarial selection.latency_ms`) {
		rows = append(rows, summaryMetric{"karn." + name, "", always})
	}
	for name := range strings.FieldsSeq(`publish_total publish_rerouted publish_dropped queue_depth_max retry_total
		dead_letter_total breaker_publish_open breaker_consume_open publish_latency_ms consume_latency_ms
		kernel_stale_dropped kernel_replay_dropped emergency_published emergency_rate_dropped queue_depth_normal
		queue_depth_emergency queue_depth_kernel_requests queue_depth_kernel_ready queue_depth_kernel_errors
		publish_breaker_state consume_breaker_state conservative_mode`) {
		rows = append(rows, summaryMetric{"oona." + name, "", always})
	}
	return rows
}

// standing are the workers that every service has, its loops among them: whoever
// looks after the others is looked after too.
var standing = []string{
	workerHTTP, workerFleet, workerOutbox, workerPrefetch, workerRuns, workerSeedReady, workerSeedErrors,
	workerPolicies, workerPolicyNotes, workerControl, workerTelemetry, workerSummary, workerHousekeeping,
	workerEmergency, workerScrub, workerHealthWatch,
}

// watching are those of a service with a trainer's signals.
var watching = []string{workerSignals, workerSignalReports}

// wantMetrics compares a summary packet with the table. Kasmina's figures travel in
// its own packets, and Urabrask's would be those of a part that is not there; every
// worker has a row.
func wantMetrics(t *testing.T, packet *leyline.TelemetryPacket, rows []summaryMetric, happened bool) {
	t.Helper()
	units, seen := map[string]string{}, map[string]bool{}
	for _, point := range packet.GetMetrics() {
		key := point.GetName() + fmt.Sprint(point.GetAttributes())
		if seen[key] {
			t.Errorf("%s is there twice", key)
		}
		units[point.GetName()], seen[key] = point.GetUnit(), true
	}
	for _, row := range rows {
		unit, there := units[row.name]
		if want := happened || !row.later; there != want || there && unit != row.unit {
			t.Errorf("%s is there: %v, in %q; want %v, %q", row.name, there, unit, want, row.unit)
		}
		delete(units, row.name)
	}
	for name := range units {
		for _, beginning := range []string{"kasmina.", "urabrask.", "weatherlight.worker."} {
			if strings.HasPrefix(name, beginning) {
				t.Errorf("%s is in no row of the table", name)
			}
		}
	}
}

func TestSummaryHasEveryRowOfTheDashboards(t *testing.T) {
	r := eventful(t, redistest.Start(t).URL)
	packet := r.summaryPacket(t.Context())
	wantMetrics(t, packet, summaryMetrics(slices.Concat(standing, watching, []string{"broken"})), true)
	got := metricsOf(packet)
	if got["weatherlight.emergency.last_level"] != 2 || got["weatherlight.rollback.detections_total"] < 1 ||
		got["kasmina.telemetry.dropped_total"] != 1 || got["weatherlight.tamiyo.coverage.global.loss"] != 0.5 {
		t.Errorf("metrics %v", got)
	}
	wantHealth(t, packet, leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "backoff", "degraded", "1")
	indicators := packet.GetSystemHealth().GetIndicators()
	if indicators["bsds_provenance"] != "urabrask" || indicators["bsds_hazard"] != "HIGH" {
		t.Errorf("indicators %v", indicators)
	}
	failure, reason := eventNamed(packet, "worker_error"), eventNamed(packet, "emergency_last_reason")
	if at := failure.GetAttributes()["last_error_ts"]; failure.GetLevel() != warning || len(at) < 14 || at[len(at)-4] != '.' {
		t.Errorf("%v, want a warning, and its time with three decimals", failure)
	}
	if reason.GetLevel() != info || reason.GetAttributes()["reason"] != "loss_spike" {
		t.Errorf("%v", reason)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func eventNamed(packet *leyline.TelemetryPacket, name string) *leyline.TelemetryEvent {
	for _, event := range packet.GetEvents() {
		if event.GetDescription() == name {
			return event
		}
	}
	return nil
}

func TestQuietSummaryIsSteadyAndLeavesOutWhatNeverHappened(t *testing.T) {
	r := start(t, newService(t, nil))
	packet := r.summaryPacket(t.Context())
	wantMetrics(t, packet, summaryMetrics(append(slices.Clone(standing), workerBroker)), false)
	wantHealth(t, packet, leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady", "operational", "0")
	if len(packet.GetEvents()) != 0 {
		t.Errorf("events %v", packet.GetEvents())
	}
	eventually(t, "the boot is told of", func() bool {
		boot := r.summaryPacket(t.Context()).GetSystemHealth().GetIndicators()["boot"]
		return strings.Contains(boot, fmt.Sprintf(" in %d steps, longest: ", len(stepNames())))
	})
	for _, name := range []string{"bsds_provenance", "bsds_hazard", "alarms", "nissa"} {
		if text, there := packet.GetSystemHealth().GetIndicators()[name]; there {
			t.Errorf("indicator %s is %q though nothing happened", name, text)
		}
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// A worker that failed once is an event until it is well again, and no longer.
func TestOldErrorLeavesTheSummary(t *testing.T) {
	r := start(t, newService(t, nil))
	var mended atomic.Bool
	well := make(chan struct{})
	ailing := supervise.WorkerFunc(func(ctx context.Context) error {
		if !mended.Load() {
			return errBroken
		}
		close(well)
		<-ctx.Done()
		return nil
	})
	policy := supervise.Policy{Base: 200 * time.Millisecond, Cap: 200 * time.Millisecond, ResetAfter: time.Millisecond}
	if err := r.supervisor.Start(t.Context(), supervise.Spec{Name: "ailing", Worker: ailing, Policy: policy}); err != nil {
		t.Fatal(err)
	}
	told := func() bool { return eventNamed(r.summaryPacket(t.Context()), "worker_error") != nil }
	eventually(t, "the failure is told of", told)
	mended.Store(true)
	<-well // A run that is still to fail may be forgiven before it does.
	eventually(t, "it is forgiven", func() bool { return !told() })
	packet := r.summaryPacket(t.Context())
	wantHealth(t, packet, leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "steady", "operational", "0")
	if got := metricsOf(packet); got["weatherlight.last_error_ts"] == 0 || got["weatherlight.restarts_total"] == 0 {
		t.Errorf("that it happened was forgotten: %v", got)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
