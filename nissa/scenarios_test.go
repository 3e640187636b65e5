package nissa

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/rules"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// listener is a service with the shipped rules that has heard packets.
type listener struct {
	*Service

	t *testing.T
}

func told(t *testing.T, of Thresholds, packets ...*telemetry.Packet) *listener {
	t.Helper()
	shipped := func() ([]byte, string, error) { return ShippedRules(of), "", nil }
	service, err := New(Config{Bus: connect(t, embeddedURL(t), secret), Alerts: &Alerts{Rules: shipped}})
	if err != nil {
		t.Fatal(err)
	}
	s := &listener{service, t}
	s.take(packets...)
	return s
}

func (s *listener) take(packets ...*telemetry.Packet) {
	s.t.Helper()
	for _, p := range packets {
		s.hears(p.Build())
	}
}

func (s *listener) hears(payload proto.Message) {
	s.t.Helper()
	if _, err := s.handle(s.t.Context(), &oona.Delivery{Stream: "oona.telemetry", ID: "1-1", Payload: payload}); err != nil {
		s.t.Fatal(err)
	}
}

// firing are the rules that fire, each with whom it is told.
func (s *listener) firing() string {
	s.t.Helper()
	file, err := rules.Parse(ShippedRules(Thresholds{}), "")
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, a := range s.desk.Alerts() {
		if a.State != alert.Firing {
			continue
		}
		of := slices.IndexFunc(file.Rules, func(r rules.Rule) bool { return r.Name == a.Rule })
		names = append(names, a.Rule+" to "+strings.Join(file.Rules[of].Receivers, ","))
	}
	return strings.Join(names, "; ")
}

func (s *listener) fires(want string) {
	s.t.Helper()
	if got := s.firing(); got != want {
		s.t.Errorf("fires %q, want %q", got, want)
	}
}

func hazard(name string) *telemetry.Packet {
	return packet("tamiyo").Event(name, leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, "provenance", "URABRASK")
}

func coverage(value float64) *telemetry.Packet {
	return packet("tamiyo").Metric("tamiyo.gnn.feature_coverage", value, "ratio")
}

func TestScenario48_ACriticalHazardIsToldAtOnceAndCounted(t *testing.T) {
	s := told(t, Thresholds{}, hazard("bsds_hazard_critical"))
	s.fires("tamiyo_bsds_critical to pager")
	wantSeries(t, s.recorder, map[string]string{`esper_tamiyo_bsds_hazard_critical_total{provenance="urabrask"}`: "1"})
}

func TestScenario49_ThreeHighHazardsAreTold(t *testing.T) {
	s := told(t, Thresholds{}, hazard("bsds_hazard_high"), hazard("bsds_hazard_high"))
	s.fires("")
	s.take(packet("kasmina").Metric("kasmina.seeds.active", 1, ""), hazard("bsds_hazard_high"))
	s.fires("tamiyo_bsds_high to chat")
	wantSeries(t, s.recorder, map[string]string{`esper_tamiyo_bsds_hazard_high_total{provenance="urabrask"}`: "3"})
}

func TestScenario51_CoverageIsASeries(t *testing.T) {
	s := told(t, Thresholds{}, coverage(0.55))
	wantSeries(t, s.recorder, map[string]string{`tamiyo_gnn_feature_coverage{source="tamiyo"}`: "0.55"})
}

func TestScenario52_LowCoverageThriceIsTold(t *testing.T) {
	s := told(t, Thresholds{}, coverage(0.65), coverage(0.65))
	s.fires("")
	s.take(coverage(0.65))
	s.fires("tamiyo_coverage_low to chat")
}

func TestScenario53_AnElevatedRiskIsToldAtOnce(t *testing.T) {
	s := told(t, Thresholds{}, packet("tamiyo").Metric("tamiyo.blueprint.risk", 0.85, ""))
	s.fires("tamiyo_bsds_elevated_risk to pager")
	wantSeries(t, s.recorder, map[string]string{"tamiyo_bsds_elevated_risk": "1"})
}

func TestScenario54_MetricsAreServed(t *testing.T) {
	onEveryBus(t, func(t *testing.T, url string) {
		r := run(t, url).ready()
		publish(t, connect(t, url, secret).PublishTelemetry(t.Context(), coverage(0.55).Build(), leyline.MessagePriority_MESSAGE_PRIORITY_NORMAL))
		r.shows(`tamiyo_gnn_feature_coverage{source="tamiyo"} 0.55`)
		if status, _ := r.get("/metrics"); status != http.StatusOK {
			t.Errorf("/metrics is %d", status)
		}
	})
}

func TestScenario55_LimitsOfTheShippedRulesAreSet(t *testing.T) {
	limits := Thresholds{Coverage: 0.9, CoverageCount: 2, ElevatedRisk: 0.85}
	s := told(t, limits, coverage(0.89), packet("tamiyo").Metric("tamiyo.blueprint.risk", 0.84, "").
		Metric("tamiyo.gnn.coverage.custom.key", 0.3, "ratio"))
	s.fires("")
	s.take(packet("tamiyo").Metric("tamiyo.blueprint.risk", 0.86, ""))
	s.fires("tamiyo_bsds_elevated_risk to pager")
	s.take(packet("tamiyo").Metric("tamiyo.blueprint.risk", 0.1, ""), coverage(0.89))
	s.fires("tamiyo_coverage_low to chat")
	wantSeries(t, s.recorder, map[string]string{`tamiyo_gnn_feature_coverage_by_type{feature="custom.key",source="tamiyo"}`: "0.3"})
}

// R15: the features that were named changed nothing.
func TestR15OnlyTheNamedFeaturesAreShown(t *testing.T) {
	r := newRecorder(Config{Features: []string{"custom.key"}})
	r.recordTelemetry(packet("tamiyo").Metric("tamiyo.gnn.coverage.custom.key", 0.3, "ratio").
		Metric("tamiyo.gnn.feature_coverage.node.seed", 0.4, "ratio").Metric("tamiyo.gnn.feature_coverage", 0.5, "ratio").Build())
	wantSeries(t, r, map[string]string{
		`tamiyo_gnn_feature_coverage_by_type{feature="custom.key",source="tamiyo"}`: "0.3",
		`tamiyo_gnn_feature_coverage{source="tamiyo"}`:                              "0.5",
	})
	wantNoSeries(t, r, `tamiyo_gnn_feature_coverage_by_type{feature="node.seed"`)
}

func TestScenario56_FeaturesAreOneSeriesUnderEitherName(t *testing.T) {
	s := told(t, Thresholds{}, packet("tamiyo").Metric("tamiyo.gnn.feature_coverage.node.seed", 0.42, "ratio").
		Metric("tamiyo.gnn.coverage.global.loss", 0.43, "ratio"))
	wantSeries(t, s.recorder, map[string]string{
		`tamiyo_gnn_feature_coverage_by_type{feature="node.seed",source="tamiyo"}`:   "0.42",
		`tamiyo_gnn_feature_coverage_by_type{feature="global.loss",source="tamiyo"}`: "0.43",
	})
}

func TestN9ACountThatIsCumulativeIsNotAddedUp(t *testing.T) {
	s := told(t, Thresholds{})
	for _, iterations := range []float64{7, 9, 12} {
		s.take(packet("simic").Metric("simic.training.iterations", iterations, ""))
	}
	wantSeries(t, s.recorder, map[string]string{`esper_simic_training_iterations_total{source="simic"}`: "12"})
}
