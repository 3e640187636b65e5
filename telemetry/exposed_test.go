package telemetry_test

import (
	"testing"

	"github.com/esper-lite/weatherlight/telemetry"
)

func TestSeriesAreShownInBaseUnits(t *testing.T) {
	for _, test := range []struct {
		name, unit, shown, base string
		factor                  float64
	}{
		{"a_latency_ms", "ms", "a_latency_seconds", "seconds", 1e-3},
		{"a_last_ms_ago", "ms", "a_last_seconds_ago", "seconds", 1e-3},
		{"a_warm_ms_<strategy>", "ms", "a_warm_seconds_<strategy>", "seconds", 1e-3},
		{"a_uptime_s", "seconds", "a_uptime_seconds", "seconds", 1},
		{"a_rate_per_s", "per second", "a_rate_per_second", "per second", 1},
		{"a_pause_seconds", "seconds", "a_pause_seconds", "seconds", 1},
		{"a_jobs_total", "count", "a_jobs_total", "count", 1},
		{"a_s_b", "count", "a_s_b", "count", 1},
	} {
		shown, factor := telemetry.Series{Name: test.name, Unit: test.unit}.Exposed()
		if shown.Name != test.shown || shown.Unit != test.base || factor != test.factor {
			t.Errorf("%s: %+v, %v", test.name, shown, factor)
		}
	}
}
