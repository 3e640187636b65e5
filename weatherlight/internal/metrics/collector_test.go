package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

func TestOneNameWithTwoSetsOfLabelsDoesNotBreakTheScrape(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	points := []telemetry.Point{
		{Name: "kasmina.seeds", Value: 1},
		{Name: "kasmina.seeds", Value: 2, Labels: []string{"stage", "TRAINING"}},
		{Name: "kasmina.seeds", Value: 3, Labels: []string{"stage", "BLENDING", "seed", "s"}},
		{Name: "kasmina.seeds", Value: 4, Labels: []string{"stage", "TRAINING"}}, // twice
		{Name: "kasmina-seeds", Value: 5},                                        // the same name on this page
		{Name: "odd", Value: 6, Labels: []string{"a.b", "\xff", "9", "x"}},
		{Name: "broken", Value: 7, Labels: []string{"same", "1", "same", "2"}},
		{Name: "", Value: 8},
	}
	var figures []telemetry.Figure
	for _, point := range points {
		series := telemetry.Series{Name: SeriesName(point.Name)}
		figures = append(figures, telemetry.Figure{Series: series, Points: []telemetry.Point{point}})
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
