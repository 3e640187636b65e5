package summary

import (
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestSummaryRepeatsWhatTamiyoSays(t *testing.T) {
	const critical, info = leyline.TelemetryLevel_TELEMETRY_LEVEL_CRITICAL, leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO
	mirror := &Mirror{}
	shown := func() (map[string]float64, map[string]string) {
		packet := telemetry.New("weatherlight", "weatherlight").Figures(mirror.Figures()...)
		mirror.indicate(packet)
		built := packet.Build()
		figures := make(map[string]float64)
		for _, point := range built.GetMetrics() {
			figures[point.GetName()] = point.GetValue()
		}
		return figures, built.GetSystemHealth().GetIndicators()
	}
	if figures, indicators := shown(); len(figures)+len(indicators) != 0 {
		t.Errorf("before a packet: %v %v", figures, indicators)
	}
	mirror.Observe(telemetry.New("tolaria", "x").Metric(coveragePrefix+"a", 1, "ratio").Build())
	mirror.Observe(telemetry.New("tamiyo", "x").
		Metric(coveragePrefix+"global.loss", 0.5, "ratio").Metric("tamiyo.gnn.feature_coverage", 0.7, "ratio").
		Event("bsds_present", info, "provenance", "URABRASK", "hazard", "low", "risk", "0.1").Build())
	mirror.Observe(telemetry.New("tamiyo", "x").Event("bsds_hazard_critical", critical, "provenance", "URABRASK").Build())
	figures, indicators := shown()
	if len(figures) != 1 || figures["weatherlight.tamiyo.coverage.global.loss"] != 0.5 {
		t.Errorf("figures %v", figures)
	}
	if indicators["bsds_provenance"] != "urabrask" || indicators["bsds_hazard"] != "CRITICAL" {
		t.Errorf("indicators %v", indicators)
	}
}
