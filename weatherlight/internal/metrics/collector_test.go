package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestOneNameWithTwoSetsOfLabelsDoesNotBreakTheScrape(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	gauge := func(name string, value float64, texts ...string) telemetry.Figure {
		return telemetry.Measure(name, "count", "Odd.", value, texts...)
	}
	figures := []telemetry.Figure{
		gauge("kasmina.seeds", 1),
		gauge("kasmina.seeds{stage}", 2, "TRAINING"),
		gauge("kasmina.seeds{stage,seed}", 3, "BLENDING", "s"),
		gauge("kasmina.seeds{stage}", 4, "TRAINING"), // twice
		gauge("kasmina-seeds", 5),                    // the same name on this page
		gauge("odd{a.b,9}", 6, "\xff", "x"),
		gauge("broken{same,same}", 7, "1", "2"),
		gauge("", 8),
	}
	registry.MustRegister(NewCollector(func() ([]telemetry.Figure, []oona.Histogram) { return figures, nil }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("the scrape fails: %v", err)
	}
	count := map[string]int{}
	for _, family := range families {
		count[family.GetName()] = len(family.GetMetric())
	}
	if count["kasmina_seeds"] != 3 || count["odd"] != 1 {
		t.Errorf("series %v", count)
	}
}
