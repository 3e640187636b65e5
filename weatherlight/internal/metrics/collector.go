// Package metrics shows the figures of a service on /metrics. A [Collector] shows to
// Prometheus what the owners of figures declare and measure, [OfBus] are those of the bus
// client, and [SeriesName] is what Prometheus allows of a name. The composition root makes
// the Collector, and httpapi serves it.
package metrics

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Collector shows figures and histograms on /metrics. It measures when it is asked, so a
// scrape is never older than itself.
type Collector struct {
	measure func() ([]telemetry.Figure, []oona.Histogram)
}

// NewCollector shows what measure returns.
func NewCollector(measure func() ([]telemetry.Figure, []oona.Histogram)) *Collector {
	return &Collector{measure}
}

// Describe names nothing in advance: the set of series depends on the parts.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect measures.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	figures, histograms := c.measure()
	collectFigures(figures, metrics)
	collectHistograms(histograms, metrics)
}

// collectHistograms shows how long each path of the bus takes.
func collectHistograms(histograms []oona.Histogram, metrics chan<- prometheus.Metric) {
	row := oona.LatencySeries()
	desc := prometheus.NewDesc(row.Name, row.Help(), []string{"path", "stream"}, nil)
	for _, h := range histograms {
		buckets := make(map[float64]uint64, len(h.Bounds))
		var below uint64
		for i, bound := range h.Bounds {
			below += h.Counts[i]
			buckets[bound] = below
		}
		metric, err := prometheus.NewConstHistogram(desc, h.Count(), h.Sum, buckets, h.Path, strings.ToValidUTF8(h.Stream, "?"))
		if err == nil {
			metrics <- metric
		}
	}
}

// collectFigures shows each series once: a second one would fail the scrape.
func collectFigures(figures []telemetry.Figure, metrics chan<- prometheus.Metric) {
	seen := make(map[string]bool)
	for _, figure := range figures {
		series := figure.Series()
		for point := range figure.Points() {
			metric, key := metricOf(series, point)
			if metric != nil && !seen[key] {
				seen[key] = true
				metrics <- metric
			}
		}
	}
}

// metricOf is a point as a Prometheus metric, with the key that tells it from
// every other.
func metricOf(series telemetry.Series, point telemetry.Point) (prometheus.Metric, string) {
	shown, factor := series.Exposed()
	name, labels := SeriesName(shown.Name), slices.Concat(point.InName(), point.Labels())
	if prefix, varies := shown.Family(); varies {
		inPackets, _ := series.Family()
		name = SeriesName(prefix + strings.TrimPrefix(SeriesName(point.Name), SeriesName(inPackets)))
	}
	var names, texts []string
	for pair := range slices.Chunk(labels, 2) {
		names = append(names, SeriesName(pair[0]))
		texts = append(texts, strings.ToValidUTF8(pair[1], "?"))
	}
	desc := prometheus.NewDesc(name, shown.Help(), names, nil)
	metric, err := prometheus.NewConstMetric(desc, valueType(series.Kind), point.Value*factor, texts...)
	if err != nil {
		return nil, ""
	}
	return metric, name + "\x00" + strings.Join(texts, "\x00")
}

func valueType(kind telemetry.SeriesKind) prometheus.ValueType {
	if kind == telemetry.Counter {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// SeriesName replaces what a Prometheus name may not hold.
func SeriesName(name string) string {
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
