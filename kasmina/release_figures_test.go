package kasmina

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/esper-lite/weatherlight/internal/pagetest"
	"github.com/esper-lite/weatherlight/kasmina/internal/lifecycle"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestR18_NoFigureIsAConstant(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.AutoFossilize = true })
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Training)
	w.accepts(w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE)))
	w.accepts(w.command(0, "s", ofType(leyline.CommandType_COMMAND_PAUSE), annotate("resume", "true")))
	w.accepts(w.command(0, "", ofType(leyline.CommandType_COMMAND_EMERGENCY)))
	for _, packet := range w.emitted() {
		text := packet.String()
		for _, constant := range []string{
			"kasmina.fallback.active", "kasmina.seed.fallback_used", "kernel_cache_cleared", "telemetry_cache_cleared",
			`key:"cache"`,
		} {
			if strings.Contains(text, constant) {
				t.Errorf("%s holds %s", packet.GetPacketId(), constant)
			}
		}
	}
}

func TestR19_MeasuredFiguresHaveThePrototypesNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.trainer.spoil = spoiled("gradient_cosine", 0.25)
	w.meet()
	w.plant("s")
	w.grow("s", lifecycle.Blending)
	packets := w.emitted()
	last := packets[len(packets)-1]
	for name, want := range map[string]float64{
		"kasmina.seed.isolation.dot": 0.25, "kasmina.seed.isolation.host_norm": 0, "kasmina.seed.isolation.seed_norm": 0.1,
	} {
		if got := metric(last, name); got == nil || math.Abs(got.GetValue()-want) > 1e-6 {
			t.Errorf("metric %s is %v, want %v", name, got, want)
		}
	}
	rollback := w.command(0, "s", ofType(leyline.CommandType_COMMAND_ROLLBACK))
	w.accepts(rollback)
	w.report()
	packets = w.emitted()
	if got := metric(packets[len(packets)-1], "kasmina.rollback.latency_ms"); got.GetValue() != 1000 {
		t.Errorf("metric %v", got)
	}
}

// leftOut are the points that the operator's page says are not sent.
func leftOut(t *testing.T) []string {
	t.Helper()
	_, table, found := strings.Cut(pagetest.Read(t, "metrics.md"), "| point | why it is not sent |\n| --- | --- |\n")
	if !found {
		t.Fatal("the page has no table of what is not sent")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	var names []string
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 || len(strings.TrimSpace(cells[2])) == 0 {
			t.Fatalf("row %q gives no reason", row)
		}
		for name := range strings.SplitSeq(cells[1], ",") {
			names = append(names, strings.Trim(name, " `"))
		}
	}
	return names
}

func TestR19_EachOfThePrototypesNamesIsSentOrLeftOutForAReason(t *testing.T) {
	t.Parallel()
	sent := make(map[string]bool)
	for _, row := range slices.Concat(telemetry.Declared(Totals{}.Figures()), PacketSeries()) {
		sent[row.Name] = true
	}
	absent := leftOut(t)
	for _, name := range []string{
		"kasmina.cache.lock_wait_ms", "kasmina.cache.kernel_evictions", "kasmina.cache.kernel_hit_rate",
		"kasmina.cache.gpu_size", "kasmina.cache.gpu_capacity", "kasmina.cache.gpu_evictions", "kasmina.cache.gpu_hit_rate",
		"kasmina.cache.telemetry_size", "kasmina.prewarm.latency_ms", "kasmina.rollback.latency_ms",
		"kasmina.seed.isolation.dot", "kasmina.seed.isolation.host_norm", "kasmina.seed.isolation.seed_norm",
		"kasmina.seeds.active", "kasmina.isolation.violations", "kasmina.command_verifier.accepted_total",
		"kasmina.command_verifier.rejections_total", "kasmina.command_verifier.validation_latency_ms",
		"kasmina.nonce_ledger.size", "kasmina.nonce_ledger.evictions_total", "kasmina.nonce_ledger.ttl_seconds",
		"kasmina.prefetch.inflight", "kasmina.prefetch.requests_total", "kasmina.prefetch.latency_ms",
		"kasmina.prefetch.last_latency_ms", "kasmina.fallback.active", "kasmina.fallback.events_total",
		"kasmina.kernel.fetch_latency_ms", "kasmina.breaker.state", "kasmina.breaker.failures", "kasmina.cache.kernel_size",
		"kasmina.seed.stage", "kasmina.seed.alpha", "kasmina.seed.kernel_attached", "kasmina.seed.kernel_latency_ms",
		"kasmina.seed.last_kernel_latency_ms", "kasmina.seed.isolation_violations", "kasmina.seed.fallback_used",
		"kasmina.seed.alpha_steps",
	} {
		if series := strings.ReplaceAll(name, ".", "_"); sent[series] == slices.Contains(absent, name) {
			t.Errorf("%s must be either sent or left out, and is both or neither", name)
		}
	}
	for _, name := range absent {
		if sent[strings.ReplaceAll(name, ".", "_")] {
			t.Errorf("%s is sent, and the page says that it is not", name)
		}
	}
}
