package nissa

import (
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

// levels are the series whose names end like those of counters, and that may fall.
var levels = map[string]bool{
	"tolaria_graph_replays_total": true, // of the graph in use
}

// kindOf is what Prometheus may do with the values of a series that comes from metric points. Its
// name alone says so, for one name has one type.
func kindOf(name string) prometheus.ValueType {
	if strings.HasSuffix(name, "_total") && !levels[name] {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// latencies are the metrics of which each point is one measurement, in milliseconds. Other points
// of latencies repeat the last one, or are averages.
var latencies = map[string]bool{
	"kasmina.prewarm.latency_ms":                true,
	"kasmina.rollback.latency_ms":               true,
	"tamiyo.inference.latency_ms":               true,
	"tolaria.graph.capture_ms":                  true,
	"tolaria.graph.replay_ms":                   true,
	"tolaria.graph.stage_copy_ms":               true,
	"tolaria.training.latency_ms":               true,
	"weatherlight.emergency.latency_ms":         true,
	"weatherlight.rollback.deadline_latency_ms": true,
}

// recordLatencies counts measurements.
func (r *recorder) recordLatencies(packet *leyline.TelemetryPacket) {
	for _, point := range packet.GetMetrics() {
		if latencies[point.GetName()] && point.GetValue() >= 0 && !math.IsInf(point.GetValue(), 1) {
			r.counts.measured.WithLabelValues(seriesName(point.GetName())).Observe(point.GetValue() / 1000)
		}
	}
}

// unit is a unit of points, and the base unit that Prometheus wants of a name which does not say.
type unit struct {
	base  string
	share float64  // of the base unit
	words []string // any of which in a name says what its unit is
}

var units = map[string]unit{
	"ns":      {"seconds", 1e-9, []string{"ns"}},
	"us":      {"seconds", 1e-6, []string{"us"}},
	"ms":      {"seconds", 1e-3, []string{"ms"}},
	"s":       {"seconds", 1, []string{"s", "seconds"}},
	"seconds": {"seconds", 1, []string{"s", "seconds"}},
	"bytes":   {"bytes", 1, []string{"bytes"}},
}

// inBase is a series in its base unit. One whose name says its unit keeps name and value: these are
// the names that dashboards know.
func inBase(name, of string, value float64) (string, float64) {
	u, known := units[of]
	if !known || name == "" || hasWord(name, u.words) {
		return name, value
	}
	if total, is := strings.CutSuffix(name, "_total"); is {
		return total + "_" + u.base + "_total", value * u.share
	}
	return name + "_" + u.base, value * u.share
}

func hasWord(name string, words []string) bool {
	for part := range strings.SplitSeq(name, "_") {
		if slices.Contains(words, part) {
			return true
		}
	}
	return false
}

// senderIndicator is what a packet's health block says of which of several senders of one source
// it comes from.
const senderIndicator = "instance"

// metricsIndicator is exposed in a packet whose points its sender shows to Prometheus itself, under
// the same names: shown twice they would be summed twice.
const (
	metricsIndicator = "metrics"
	exposed          = "exposed"
)

// measuredRow is the histogram of all latencies that are told.
var measuredRow = telemetry.Series{
	Name: "esper_latency_seconds", Labels: "metric", Kind: telemetry.Histogram,
	Meaning: "Latencies that packets told, each of which is one measurement, by the name of their series.",
}
