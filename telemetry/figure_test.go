package telemetry_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// One declaration says how a figure is called in packets and on /metrics, what it is, and
// what it comes to.
func TestFigureIsDeclaredOnce(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		figure telemetry.Figure
		series telemetry.Series
		points []*leyline.MetricPoint
	}{
		"counter": {
			telemetry.Count("a.jobs_total", "Jobs.", 3),
			telemetry.Series{Name: "a_jobs_total", Kind: telemetry.Counter, Unit: "count", Meaning: "Jobs."},
			[]*leyline.MetricPoint{{Name: "a.jobs_total", Value: 3, Unit: "count"}},
		},
		"rising by another name": {
			telemetry.Count("a.jobs", "Jobs.", int64(0)),
			telemetry.Series{Name: "a_jobs", Kind: telemetry.Rising, Unit: "count", Meaning: "Jobs."},
			[]*leyline.MetricPoint{{Name: "a.jobs", Unit: "count"}},
		},
		"not measured": {
			telemetry.Measure("a.time_ms", "ms", "Time.", 2.5).If(false),
			telemetry.Series{Name: "a_time_ms", Kind: telemetry.Gauge, Unit: "ms", Meaning: "Time."},
			nil,
		},
		"never": {
			telemetry.Since("a.last_ms_ago", "Last.", time.Time{}),
			telemetry.Series{Name: "a_last_ms_ago", Kind: telemetry.Gauge, Unit: "ms", Meaning: "Last."},
			nil,
		},
		"labels": {
			telemetry.Is("a.on{seed,run}", "On.", true, "s", "r"),
			telemetry.Series{Name: "a_on", Labels: "seed,run", Kind: telemetry.Gauge, Unit: "bool", Meaning: "On."},
			[]*leyline.MetricPoint{{Name: "a.on", Value: 1, Unit: "bool", Attributes: map[string]string{"seed": "s", "run": "r"}}},
		},
		"label without a text": {
			telemetry.Is("a.on{seed,run}", "On.", false, "s", ""),
			telemetry.Series{Name: "a_on", Labels: "seed,run", Kind: telemetry.Gauge, Unit: "bool", Meaning: "On."},
			[]*leyline.MetricPoint{{Name: "a.on", Unit: "bool", Attributes: map[string]string{"seed": "s"}}},
		},
		"each text of a label": {
			telemetry.CountEach("a.culls_total{reason}", "Culls.", map[string]int{"late": 2, "bad": 1}),
			telemetry.Series{Name: "a_culls_total", Labels: "reason", Kind: telemetry.Counter, Unit: "count", Meaning: "Culls."},
			[]*leyline.MetricPoint{
				{Name: "a.culls_total", Value: 1, Unit: "count", Attributes: map[string]string{"reason": "bad"}},
				{Name: "a.culls_total", Value: 2, Unit: "count", Attributes: map[string]string{"reason": "late"}},
			},
		},
		"name that varies": {
			telemetry.MeasureEach("a.depth.<stream>", "count", "Depth.", map[string]int32{"normal": 7}),
			telemetry.Series{Name: "a_depth_<stream>", Kind: telemetry.Gauge, Unit: "count", Meaning: "Depth."},
			[]*leyline.MetricPoint{{Name: "a.depth.normal", Value: 7, Unit: "count"}},
		},
		"label in the name": {
			telemetry.Count("a.<worker>.restarts", "Restarts.", 1, "forge"),
			telemetry.Series{Name: "a_restarts", Labels: "worker", Kind: telemetry.Rising, Unit: "count", Meaning: "Restarts."},
			[]*leyline.MetricPoint{{Name: "a.forge.restarts", Value: 1, Unit: "count"}},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.series, test.figure.Series()); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			points := telemetry.MetricPoints([]telemetry.Figure{test.figure})
			if diff := cmp.Diff(test.points, points, protocmp.Transform(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("points (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBareFiguresAreInTheOrderOfTheirNamesAndWithoutUnits(t *testing.T) {
	t.Parallel()
	figures := []telemetry.Figure{
		telemetry.MeasureEach("a.depth.<stream>", "count", "Depth.", map[string]int{"normal": 7, "emergency": 1}),
		telemetry.Count("a.depth.max", "Most.", 7),
		telemetry.Count("a.absent", "Absent.", 7).If(false),
	}
	want := []*leyline.MetricPoint{
		{Name: "a.depth.emergency", Value: 1}, {Name: "a.depth.max", Value: 7}, {Name: "a.depth.normal", Value: 7},
	}
	if diff := cmp.Diff(want, telemetry.MetricPoints(telemetry.Bare(figures)), protocmp.Transform()); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	if unit := figures[1].Points[0].Unit; unit != "count" {
		t.Errorf("the figure itself has lost its unit: %q", unit)
	}
	if values := telemetry.Values(figures, "a."); len(values) != 3 || values["depth.max"] != 7 {
		t.Errorf("values %v", values)
	}
}
