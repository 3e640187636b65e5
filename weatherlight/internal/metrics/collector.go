package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/telemetry"
)

// Collector shows points and histograms on /metrics. It measures when it is asked, so a
// scrape is never older than itself.
type Collector struct {
	table   *Table
	measure func() ([]Point, []oona.Histogram)
}

// NewCollector shows what measure returns, explained by a table.
func NewCollector(table *Table, measure func() ([]Point, []oona.Histogram)) *Collector {
	return &Collector{table, measure}
}

// Describe names nothing in advance: the set of points depends on the parts.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect measures.
func (c *Collector) Collect(metrics chan<- prometheus.Metric) {
	points, histograms := c.measure()
	c.collectPoints(points, metrics)
	c.collectHistograms(histograms, metrics)
}

// collectHistograms shows how long each path of the bus takes.
func (c *Collector) collectHistograms(histograms []oona.Histogram, metrics chan<- prometheus.Metric) {
	row, _ := c.table.Find("oona_latency_seconds")
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

// collectPoints shows each series once: a second one would fail the scrape.
func (c *Collector) collectPoints(points []Point, metrics chan<- prometheus.Metric) {
	seen := make(map[string]bool)
	for _, point := range points {
		metric, key := point.metric(c.table)
		if metric != nil && !seen[key] {
			seen[key] = true
			metrics <- metric
		}
	}
}

// metric is the point as a Prometheus metric, with the key that tells it from
// every other.
func (p Point) metric(table *Table) (prometheus.Metric, string) {
	name, labels := p.Series, p.SeriesLabels
	if name == "" {
		name, labels = SeriesName(p.Name), p.Labels
	}
	names := make([]string, 0, len(labels)/2)
	texts := make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		names = append(names, SeriesName(labels[i]))
		texts = append(texts, strings.ToValidUTF8(labels[i+1], "?"))
	}
	// One name has one row, and so one help text, whatever labels it carries.
	row, _ := table.Find(name)
	metric, err := prometheus.NewConstMetric(prometheus.NewDesc(name, row.Help(), names, nil), valueType(row.Kind), p.Value, texts...)
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
