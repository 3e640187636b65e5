package forge_test

import (
	"regexp"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/tezzeret/forge"
)

func descriptions(packet *leyline.TelemetryPacket) []string {
	var list []string
	for _, e := range packet.GetEvents() {
		list = append(list, e.GetDescription())
	}
	return list
}

func TestPacketCarriesTheMetricsAndDrainsTheEvents(t *testing.T) {
	b := newBench(t, compilable()[:2], func(c *forge.Config) { c.Parallel = 1 })
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	packet := b.Packet()
	if !regexp.MustCompile(`^tezzeret-\d{13}$`).MatchString(packet.GetPacketId()) ||
		packet.GetSourceSubsystem() != "tezzeret" || packet.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO {
		t.Errorf("packet %s from %s, %s", packet.GetPacketId(), packet.GetSourceSubsystem(), packet.GetLevel())
	}
	want := []string{
		"tezzeret.compile_started", "tezzeret.compile_succeeded",
		"tezzeret.compile_started", "tezzeret.compile_succeeded",
	}
	if diff := cmp.Diff(want, descriptions(packet)); diff != "" {
		t.Error(diff)
	}
	succeeded := packet.GetEvents()[1].GetAttributes()
	for key, pattern := range map[string]string{
		"blueprint_id": "^BP001$", "strategy": "^standard$", "compile_ms": `^\d+\.\d\d$`, "prewarm_ms": `^\d+\.\d\d$`,
	} {
		if !regexp.MustCompile(pattern).MatchString(succeeded[key]) {
			t.Errorf("%s is %q", key, succeeded[key])
		}
	}
	if again := b.Packet(); len(again.GetEvents()) != 0 || len(again.GetMetrics()) != len(packet.GetMetrics()) {
		t.Errorf("second packet: %d events, %d metrics", len(again.GetEvents()), len(again.GetMetrics()))
	}
}

func TestMetricNames(t *testing.T) {
	b := newBench(t, compilable()[:2], nil)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	metrics := telemetry.Values(b.Stats().Figures(), "")
	want := map[string]float64{
		"tezzeret.compilation.total": 2, "tezzeret.compilation.failed": 0,
		"tezzeret.compilation.failed_attempts": 0, "tezzeret.compilation.eager_fallback": 0,
		"tezzeret.jobs.total": 2, "tezzeret.jobs.failed": 0, "tezzeret.jobs.retried": 0,
		"tezzeret.jobs.started": 2, "tezzeret.jobs.completed": 2,
		"tezzeret.breaker.state": 1, "tezzeret.breaker.open_total": 0,
		"tezzeret.breaker.consecutive_failures": 0, "tezzeret.compile.consecutive_failures": 0,
		"tezzeret.mode.conservative": 0, "tezzeret.jobs.parked": 0, "tezzeret.compile.running": 0,
	}
	for name, value := range want {
		if got, exists := metrics[name]; !exists || got != value {
			t.Errorf("%s: got %v (%t), want %v", name, got, exists, value)
		}
	}
	for _, name := range []string{
		"tezzeret.compilation.last_compile_ms", "tezzeret.compilation.last_prewarm_ms",
		"tezzeret.compilation.duration_ms.standard", "tezzeret.prewarm.ms.standard",
	} {
		if metrics[name] <= 0 {
			t.Errorf("%s: %v", name, metrics[name])
		}
	}
	if len(metrics) != len(want)+4 {
		t.Errorf("%d metrics: %v", len(metrics), metrics)
	}
}

func TestOpenCircuitIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, compilable()[:3], func(c *forge.Config) { c.Failures, c.Parallel = 1, 1 })
		b.compiler.script["BP001"] = always(errPoison)
		if err := b.Run(t.Context()); err == nil {
			t.Fatal("the circuit did not open")
		}
		for range 10 {
			b.Stats()
		}
		packet := b.Packet()
		want := []string{
			"tezzeret.compile_started", "tezzeret.compile_failed", "tezzeret.breaker_open",
			"tezzeret.breaker_open_skip", "tezzeret.breaker_open_skip",
		}
		if diff := cmp.Diff(want, descriptions(packet)); diff != "" {
			t.Error(diff)
		}
		opened := packet.GetEvents()[2]
		if opened.GetAttributes()["failures"] != "1" || opened.GetAttributes()["backoff"] != "60" {
			t.Errorf("event: %v", opened)
		}
		if packet.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_ERROR {
			t.Errorf("level %s with an ERROR event", packet.GetLevel())
		}
		if level := b.Packet().GetLevel(); level != leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING {
			t.Errorf("level %s while open", level)
		}
	})
}

func TestEventsDoNotPileUpWithoutPackets(t *testing.T) {
	var many []*leyline.BlueprintDescriptor
	for range 300 {
		many = append(many, find(t, "identity_passthrough"))
	}
	b := newBench(t, many, nil)
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(b.Packet().GetEvents()); n != 256 {
		t.Errorf("kept %d events", n)
	}
}
