package nissa

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	dto "github.com/prometheus/client_model/go"

	"github.com/esper-lite/weatherlight/internal/httpserver"
)

// family is what is shown under a name.
func family(t *testing.T, r *recorder, name string) *dto.MetricFamily {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f
		}
	}
	return nil
}

func TestSeriesHaveTheirKindsAndUnits(t *testing.T) {
	tests := map[string]struct {
		metric, unit string
		value        float64
		name         string
		kind         dto.MetricType
		shown        float64
	}{
		"counter":                  {"kasmina.jobs_total", "count", 3, "kasmina_jobs_total", dto.MetricType_COUNTER, 3},
		"level":                    {"kasmina.seeds", "count", 3, "kasmina_seeds", dto.MetricType_GAUGE, 3},
		"level by another name":    {"tolaria.graph.replays_total", "", 3, "tolaria_graph_replays_total", dto.MetricType_GAUGE, 3},
		"cumulative":               {"simic.training.iterations", "", 3, "esper_simic_training_iterations_total", dto.MetricType_COUNTER, 3},
		"unit in the name":         {"tolaria.graph.replay_ms", "ms", 3, "tolaria_graph_replay_ms", dto.MetricType_GAUGE, 3},
		"unit within the name":     {"a.last_ms_ago", "ms", 3, "a_last_ms_ago", dto.MetricType_GAUGE, 3},
		"unit by a short name":     {"a.uptime_s", "seconds", 3, "a_uptime_s", dto.MetricType_GAUGE, 3},
		"unit that the name lacks": {"a.pause", "ms", 2500, "a_pause_seconds", dto.MetricType_GAUGE, 2.5},
		"bytes":                    {"a.memory", "bytes", 3, "a_memory_bytes", dto.MetricType_GAUGE, 3},
		"counter of a unit":        {"a.waited_total", "ms", 2500, "a_waited_seconds_total", dto.MetricType_COUNTER, 2.5},
		"unit that is none":        {"a.alpha", "ratio", 0.5, "a_alpha", dto.MetricType_GAUGE, 0.5},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(Config{})
			r.recordTelemetry(packet("a").Metric(test.metric, test.value, test.unit).Build())
			f := family(t, r, test.name)
			if f == nil || f.GetType() != test.kind {
				t.Fatalf("%v", f)
			}
			if got := f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue(); math.Abs(got-test.shown) > 1e-12 {
				t.Errorf("shown %v", got)
			}
		})
	}
}

func TestSendersOfOneSourceAreToldApart(t *testing.T) {
	r := newRecorder(Config{})
	for i, sender := range []string{"one", "two"} {
		r.recordTelemetry(packet("weatherlight").Metric("weatherlight.restarts_total", float64(i), "").Indicator("instance", sender).Build())
	}
	if f := family(t, r, "weatherlight_restarts_total"); len(f.GetMetric()) != 2 {
		t.Errorf("%v", f)
	}
}

func TestLatenciesAreHistograms(t *testing.T) {
	r := newRecorder(Config{})
	for _, value := range []float64{2, 4, 4000, math.NaN(), math.Inf(1), -1} {
		r.recordTelemetry(packet("tolaria").Metric("tolaria.training.latency_ms", value, "ms").Build())
	}
	h := family(t, r, "esper_latency_seconds").GetMetric()[0].GetHistogram()
	if h.GetSampleCount() != 3 || math.Abs(h.GetSampleSum()-4.006) > 1e-9 {
		t.Errorf("%d measured, sum %v", h.GetSampleCount(), h.GetSampleSum())
	}
	if len(h.GetPositiveSpan()) == 0 || len(h.GetBucket()) == 0 {
		t.Error("it is not both classic and native")
	}
}

func TestOpenMetricsTellWhenCountsBegan(t *testing.T) {
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret)})
	if err != nil {
		t.Fatal(err)
	}
	service.recorder.recordTelemetry(packet("a").Metric("m", 1, "").Build())
	request, answer := httptest.NewRequest(http.MethodGet, "/metrics", nil), httptest.NewRecorder()
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	service.handler(httpserver.NewGuard(&net.UnixAddr{}, "")).ServeHTTP(answer, request)
	for _, want := range []string{
		`esper_telemetry_packets_total{source="a"} 1.0`, `esper_telemetry_packets_created{source="a"}`,
		`nissa_ingest_latency_ms_created{type="telemetry"}`, "# EOF",
	} {
		if !strings.Contains(answer.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}

// 100,000 series at the bound, and 100,000 more that find no room.
func TestSeriesAreBoundedInNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder(Config{Limits: Limits{Series: 100_000, SeriesOfSource: 60_000}})
		for source := range 4 {
			for part := range 50 {
				p := packet(fmt.Sprint("source", source))
				for i := range 1000 {
					p.Metric(fmt.Sprint("m.", part, ".", i), 1, "")
				}
				r.recordTelemetry(p.Build())
			}
		}
		if got := r.series.size(); got != 100_000 {
			t.Errorf("%d series", got)
		}
	})
}

func BenchmarkScrape(b *testing.B) {
	r := newRecorder(Config{})
	for source := range 10 {
		p := packet(fmt.Sprint("source", source))
		for i := range 1000 {
			p.Metric(fmt.Sprint("some.metric.of_", i), float64(i), "count", "training_run_id", "run-1")
		}
		r.recordTelemetry(p.Build())
	}
	if r.series.size() != 10_000 {
		b.Fatalf("%d series", r.series.size())
	}
	for b.Loop() {
		if _, err := r.registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
