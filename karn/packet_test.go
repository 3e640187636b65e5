package karn_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/karn"
	"github.com/esper-lite/weatherlight/leyline"
)

func TestPacketReportsSelectionsOnce(t *testing.T) {
	catalog := karn.NewCatalog()
	if packet := catalog.Packet(); packet != nil {
		t.Errorf("nothing was selected, yet there is %v", packet)
	}
	if _, err := catalog.Select(t.Context(), karn.Request{BlueprintID: "BP001"}); err != nil {
		t.Fatal(err)
	}
	first := catalog.Packet()
	if first.GetSourceSubsystem() != "karn" || first.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO ||
		len(first.GetEvents()) != 1 || first.GetEvents()[0].GetDescription() != "karn.selection_succeeded" {
		t.Errorf("packet %v", first)
	}
	values := map[string]float64{}
	for _, metric := range first.GetMetrics() {
		values[metric.GetName()] = metric.GetValue()
	}
	if len(values) != len(catalog.Stats().Figures()) || values["karn.requests.total"] != 1 || values["karn.selection.safe"] != 1 {
		t.Errorf("metrics %v", values)
	}
	if _, err := catalog.Select(t.Context(), karn.Request{BlueprintID: "BP999"}); err == nil {
		t.Fatal("an unknown blueprint was selected")
	}
	second := catalog.Packet()
	if second.GetLevel() != leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING || len(second.GetEvents()) != 1 {
		t.Errorf("packet %v", second)
	}
	if catalog.Packet() != nil {
		t.Error("the same events are reported again")
	}
}
