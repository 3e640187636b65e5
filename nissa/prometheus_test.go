package nissa

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/esper-lite/weatherlight/internal/freeport"
	"github.com/esper-lite/weatherlight/internal/proctest"
	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
)

// startPrometheus runs Debian's, which scrapes an address, and returns its own.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		t.Fatal("prometheus not found: apt-get install prometheus")
	}
	folder, addr := t.TempDir(), freeport.Must(t)
	config := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: nissa, static_configs: [{targets: [%q]}]}]\n", target)
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	proctest.Launch(t, folder, nil, binary, "--config.file=prometheus.yml", "--storage.tsdb.path=data",
		"--web.listen-address="+addr, "--enable-feature=native-histograms")
	return addr
}

// value is what Prometheus answers a question with.
func value(addr, query string) string {
	response, err := http.Get("http://" + addr + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	var answer struct {
		Data struct {
			Result []struct {
				Value     []any
				Histogram []any
			}
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || len(answer.Data.Result) == 0 {
		return "nothing"
	}
	if one := answer.Data.Result[0]; len(one.Value) == 2 {
		return fmt.Sprint(one.Value[1])
	}
	return "a histogram"
}

// A real Prometheus takes every series that the prototype had, under its name.
func TestPrometheusTakesTheSeriesOfThePrototype(t *testing.T) {
	t.Parallel()
	url := embeddedURL(t)
	r := run(t, url).ready()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	sender, normal := connect(t, url, secret), leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL
	for _, told := range []*leyline.TelemetryPacket{
		packet("tolaria").Metric("tolaria.train.graph_enabled", 1, "").Metric("tolaria.graph.stage_copy_ms", 2, "ms").
			Metric("tolaria.graph.capture_ms", 3, "ms").Metric("tolaria.graph.replay_ms", 4, "ms").Metric("tolaria.graph.replays_total", 5, "").
			Event("tolaria.graph_fallback", warning).Build(),
		packet("tamiyo").Metric("tamiyo.gnn.feature_coverage", 0.5, "").Metric("tamiyo.gnn.coverage.global.loss", 0.25, "").
			Metric("tamiyo.blueprint.risk", 0.9, "").Event("bp_quarantine", warning).
			Event("bsds_hazard_high", warning, "provenance", "URABRASK").Event("bsds_hazard_critical", warning).Build(),
		packet("simic").Metric("simic.training.reward", -2, "").Metric("simic.training.iterations", 7, "").Build(),
	} {
		publish(t, sender.PublishTelemetry(t.Context(), told, normal))
	}
	publish(t, sender.Publish(t.Context(), oona.Message{Payload: &leyline.SystemStatePacket{
		PacketId: "s-1", TrainingRunId: "run-1", SourceSubsystem: "tolaria",
	}}))
	publish(t, sender.Publish(t.Context(), oona.Message{Payload: &leyline.FieldReport{ReportId: "r-1"}}))
	addr := startPrometheus(t, r.addr)
	for query, want := range map[string]string{
		`esper_training_runs_total`:                                                "1",
		`esper_telemetry_packets_total{source="simic"}`:                            "1",
		`esper_system_state_packets_total{phase="tolaria"}`:                        "1",
		`esper_field_reports_total{outcome="unknown"}`:                             "1",
		`esper_simic_training_reward_total`:                                        "-2",
		`esper_simic_training_iterations_total`:                                    "7",
		`tamiyo_gnn_feature_coverage`:                                              "0.5",
		`tamiyo_gnn_feature_coverage_by_type{feature="global.loss"}`:               "0.25",
		`tamiyo_bsds_quarantine_active`:                                            "1",
		`tamiyo_bsds_elevated_risk`:                                                "1",
		`tolaria_graph_enabled`:                                                    "1",
		`tolaria_graph_stage_copy_ms`:                                              "2",
		`tolaria_graph_capture_ms`:                                                 "3",
		`tolaria_graph_replay_ms`:                                                  "4",
		`tolaria_graph_replays_total`:                                              "5",
		`tolaria_graph_fallback_total`:                                             "1",
		`esper_tamiyo_bsds_hazard_high_total{provenance="urabrask"}`:               "1",
		`esper_tamiyo_bsds_hazard_critical_total{provenance="unknown"}`:            "1",
		`nissa_ingest_latency_ms{type="field_report"}`:                             "a histogram", // a native one
		`histogram_count(esper_latency_seconds{metric="tolaria_graph_replay_ms"})`: "1",
	} {
		r.eventually(query+" of Prometheus", func() bool { return value(addr, query) == want })
	}
}
