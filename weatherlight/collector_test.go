package weatherlight

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/esper-lite/weatherlight/internal/version"
)

// scrape parses /metrics as Prometheus does and returns its series, "name" or
// "name{label=text,...}", with their values.
func scrape(t *testing.T, service *Service) map[string]float64 {
	t.Helper()
	code, body := ask(t, service, "/metrics")
	if code != 200 {
		t.Fatalf("/metrics answers %d %s", code, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("parse /metrics: %v", err)
	}
	series := make(map[string]float64)
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			key := name
			if len(labels) > 0 {
				slices.Sort(labels)
				key += "{" + strings.Join(labels, ",") + "}"
			}
			if _, twice := series[key]; twice {
				t.Errorf("series %s is there twice", key)
			}
			series[key] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return series
}

func TestScrapeShowsEveryPointOnce(t *testing.T) {
	r := start(t, newService(t, nil))
	series := scrape(t, r.Service)
	build := fmt.Sprintf("{goversion=%s,revision=%s,version=%s}", runtime.Version(), version.Revision(), version.String())
	for name, want := range map[string]float64{
		"weatherlight_build_info" + build:                                 1,
		"weatherlight_worker_running{worker=" + workerHTTP + "}":          1,
		"weatherlight_worker_restarts{worker=" + workerControl + "}":      0,
		"weatherlight_restarts_total":                                     0,
		"weatherlight_tasks_backing_off":                                  0,
		"urza_prefetch_hits":                                              0,
		"oona_metrics_complete":                                           1,
		"oona_publish_breaker_state":                                      1,
		"weatherlight_telemetry_dropped_total":                            0,
		"weatherlight_housekeeping_runs_total{task=oona_trim}":            0,
		"weatherlight_housekeeping_failures_total{task=urza_maintenance}": 0,
	} {
		if got, found := series[name]; !found || got != want {
			t.Errorf("%s is %v (found %v), want %v", name, got, found, want)
		}
	}
	if series["go_goroutines"] == 0 || series["process_resident_memory_bytes"] == 0 {
		t.Error("the process is not on the page")
	}
	if len(series) < 80 {
		t.Errorf("only %d series", len(series))
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

func TestScrapeWorksWithoutTheBus(t *testing.T) {
	r := start(t, newService(t, nil))
	r.broker.Close()
	series := scrape(t, r.Service)
	if got, found := series["oona_metrics_complete"]; !found || got != 0 {
		t.Errorf("oona_metrics_complete is %v (found %v)", got, found)
	}
	if _, found := series["weatherlight_uptime_seconds"]; !found {
		t.Error("nothing else is on the page")
	}
	if err := r.stop(t); err == nil || errors.Is(err, errBroken) {
		t.Errorf("stop = %v, want that the last summary was lost", err)
	}
}
