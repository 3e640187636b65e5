package summary

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/health"
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
	if len(figures) != 2 || figures["weatherlight.tamiyo.coverage.global.loss"] != 0.5 || figures["weatherlight.tamiyo.coverage_left_out"] != 0 {
		t.Errorf("figures %v", figures)
	}
	if indicators["bsds_provenance"] != "urabrask" || indicators["bsds_hazard"] != "CRITICAL" {
		t.Errorf("indicators %v", indicators)
	}
}

// A packet with 4,800 features may not stop the summary.
func TestR38SummaryFitsTheBusWhateverAPacketHolds(t *testing.T) {
	t.Parallel()
	mirror := &Mirror{}
	flood := telemetry.New("tamiyo", "x").Event("bsds_present", 0, "provenance", strings.Repeat("ü", 60_000))
	for i := range 4800 {
		flood.Metric(fmt.Sprintf("%s%04d%s", coveragePrefix, i, strings.Repeat("x", 300)), 1, "ratio")
	}
	mirror.Observe(flood.Build())
	points := telemetry.MetricPoints(mirror.Figures())
	if left := points[0]; len(points) != maxFeatures+1 || left.GetValue() != 4800-maxFeatures {
		t.Errorf("%d points, the first %v", len(points), left)
	}
	many := Summary{Mirror: mirror}
	for i := range 10_000 {
		many.Figures = append(many.Figures, telemetry.Count(fmt.Sprintf("figure.%d{subject}", i), "A figure.", 0, fmt.Sprint(i)))
		many.Alarms = append(many.Alarms, health.Alarm{Name: "a", Subject: fmt.Sprint(i), Detail: strings.Repeat("ü", 1000)})
	}
	packet := many.Packet()
	if size := proto.Size(packet); size > 240<<10 {
		t.Errorf("the summary has %d bytes", size)
	}
	left := packet.GetMetrics()[len(packet.GetMetrics())-1]
	if want := len(many.Figures) - (len(packet.GetMetrics()) - 1) + len(many.Alarms) - maxAlarms; left.GetName() != "weatherlight.summary.left_out" || left.GetValue() != float64(want) {
		t.Errorf("left out: %v, want %d", left, want)
	}
	if names := packet.GetSystemHealth().GetIndicators()["bsds_provenance"]; len(names) > maxWord {
		t.Errorf("a provenance of %d bytes is repeated", len(names))
	}
}
