package nissa

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// scrape returns the lines of an exposition by their series, "name{labels}".
func scrape(t testing.TB, r *recorder) map[string]string {
	t.Helper()
	response := httptest.NewRecorder()
	handler := promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{})
	handler.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if response.Code != http.StatusOK {
		t.Fatalf("scrape answered %d: %s", response.Code, response.Body)
	}
	lines := map[string]string{}
	for line := range strings.Lines(response.Body.String()) {
		line = strings.TrimSpace(line)
		if at := strings.LastIndexByte(line, ' '); at > 0 && !strings.HasPrefix(line, "#") {
			lines[line[:at]] = line[at+1:]
		}
	}
	return lines
}

func wantSeries(t testing.TB, r *recorder, want map[string]string) {
	t.Helper()
	lines := scrape(t, r)
	for _, series := range slices.Sorted(maps.Keys(want)) {
		if got, found := lines[series]; got != want[series] {
			t.Errorf("%s is %q (%v), want %q", series, got, found, want[series])
		}
	}
}

func wantNoSeries(t testing.TB, r *recorder, prefix string) {
	t.Helper()
	for series, value := range scrape(t, r) {
		if strings.HasPrefix(series, prefix) {
			t.Errorf("%s is shown as %s", series, value)
		}
	}
}

func packet(source string) *telemetry.Packet { return telemetry.New(source, source) }

func TestN19NothingIsShownBeforeItWasHeard(t *testing.T) {
	r := newRecorder(Config{})
	for _, prefix := range []string{"tamiyo", "tolaria", "esper", "simic", "kasmina"} {
		wantNoSeries(t, r, prefix)
	}
}

func TestPacketDeliveredTwiceCountsOnce(t *testing.T) {
	r := newRecorder(Config{})
	told := packet("tolaria").Event("tolaria.graph_fallback", 0).Build()
	sameID := packet("tamiyo").WithID(told.GetPacketId()).Build()
	report := &leyline.FieldReport{ReportId: "r", Outcome: leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_SUCCESS}
	state := &leyline.SystemStatePacket{PacketId: "s", TrainingRunId: "run", SourceSubsystem: "Tolaria"}
	for range 3 {
		r.recordTelemetry(told)
		r.recordTelemetry(sameID)
		r.recordReport(report)
		r.recordState(state)
		r.recordEmergency(&leyline.EmergencySignal{Level: leyline.EmergencyLevel_EMERGENCY_LEVEL_HALT}, "entry")
	}
	wantSeries(t, r, map[string]string{
		`esper_telemetry_packets_total{source="tolaria"}`:   "1",
		`esper_telemetry_packets_total{source="tamiyo"}`:    "1",
		`tolaria_graph_fallback_total`:                      "1",
		`esper_field_reports_total{outcome="success"}`:      "1",
		`esper_system_state_packets_total{phase="tolaria"}`: "1",
		`esper_emergency_signals_total{level="halt"}`:       "1",
		`nissa_repeated_messages_total{type="telemetry"}`:   "4",
	})
}

func TestN20TrainingRunsAreCountedNotTheirPackets(t *testing.T) {
	r := newRecorder(Config{})
	for i := range 6 {
		r.recordState(&leyline.SystemStatePacket{PacketId: fmt.Sprint(i), TrainingRunId: fmt.Sprint("run-", i%2)})
	}
	wantSeries(t, r, map[string]string{
		`esper_training_runs_total`:                         "2",
		`esper_system_state_packets_total{phase="unknown"}`: "6",
	})
}

func TestUnspecifiedOutcomeIsUnknown(t *testing.T) {
	r := newRecorder(Config{})
	r.recordReport(&leyline.FieldReport{})
	r.recordReport(&leyline.FieldReport{})
	wantSeries(t, r, map[string]string{`esper_field_reports_total{outcome="unknown"}`: "2"})
}

func TestN7QuarantineIsNotLiftedByWhoeverSpeaksNext(t *testing.T) {
	r := newRecorder(Config{})
	critical := leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL
	r.recordTelemetry(packet("tamiyo").Metric("tamiyo.blueprint.risk", 0.9, "").Event("bp_quarantine", critical).Build())
	r.recordTelemetry(packet("kasmina").Build())
	r.recordTelemetry(packet("tamiyo").Metric("tamiyo.validation_loss", 1, "").Build())
	wantSeries(t, r, map[string]string{"tamiyo_bsds_quarantine_active": "1", "tamiyo_bsds_elevated_risk": "1"})
	r.recordTelemetry(packet("tamiyo").Metric("tamiyo.blueprint.risk", 0.1, "").Build())
	wantSeries(t, r, map[string]string{"tamiyo_bsds_quarantine_active": "0", "tamiyo_bsds_elevated_risk": "0"})
}

func TestHazardsAreCountedByProvenance(t *testing.T) {
	r := newRecorder(Config{})
	warning := leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING
	r.recordTelemetry(packet("tamiyo").
		Event("bsds_hazard_high", warning, "provenance", "URABRASK").
		Event("bsds_hazard_critical", warning).Build())
	wantSeries(t, r, map[string]string{
		`esper_tamiyo_bsds_hazard_high_total{provenance="urabrask"}`:    "1",
		`esper_tamiyo_bsds_hazard_critical_total{provenance="unknown"}`: "1",
	})
}

func TestN8NegativeRewardIsNotAFault(t *testing.T) {
	r := newRecorder(Config{})
	for _, reward := range []float64{2, -5} {
		r.recordTelemetry(packet("simic").
			Metric("simic.training.reward", reward, "").Metric("simic.training.iterations", 10, "").Build())
	}
	wantSeries(t, r, map[string]string{
		`esper_simic_training_reward_total`:                     "-3",
		`simic_training_reward{source="simic"}`:                 "-5",
		`esper_simic_training_iterations_total{source="simic"}`: "10", // cumulative already
	})
}

func TestARewardThatIsNoNumberSpoilsNoSum(t *testing.T) {
	r := newRecorder(Config{})
	for _, reward := range []float64{2, math.NaN(), math.Inf(1), 3} {
		r.recordTelemetry(packet("simic").Metric("simic.training.reward", reward, "").Build())
	}
	wantSeries(t, r, map[string]string{"esper_simic_training_reward_total": "5"})
}
