package weatherlight

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/oona"
)

// collector shows the points of the summary packet on /metrics. It measures
// when it is asked, so a scrape is never older than itself.
type collector struct {
	service    *Service
	documented *seriesIndex
}

func newCollector(service *Service) *collector {
	return &collector{service, newSeriesIndex(seriesGroups())}
}

// Describe names nothing in advance: the set of points depends on the parts.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect measures. Before the boot is over there is nothing to measure.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	if !c.service.booted.Load() {
		return
	}
	// The collector interface carries no context; busPoints bounds what it asks.
	c.collectPoints(c.service.series(context.Background()), metrics)
	c.collectHistograms(c.service.bus.Histograms(), metrics)
}

// collectHistograms shows how long each path of the bus takes.
func (c *collector) collectHistograms(histograms []oona.Histogram, metrics chan<- prometheus.Metric) {
	row, _ := c.documented.row("oona_latency_seconds")
	desc := prometheus.NewDesc(row.name, row.help(), []string{"path", "stream"}, nil)
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
func (c *collector) collectPoints(points []point, metrics chan<- prometheus.Metric) {
	seen := make(map[string]bool)
	for _, point := range points {
		metric, key := point.metric(c.documented)
		if metric != nil && !seen[key] {
			seen[key] = true
			metrics <- metric
		}
	}
}

// metric is the point as a Prometheus metric, with the key that tells it from
// every other.
func (p point) metric(documented *seriesIndex) (prometheus.Metric, string) {
	name, labels := p.series, p.seriesLabels
	if name == "" {
		name, labels = seriesName(p.name), p.labels
	}
	names := make([]string, 0, len(labels)/2)
	texts := make([]string, 0, len(labels)/2)
	for i := 0; i+1 < len(labels); i += 2 {
		names = append(names, seriesName(labels[i]))
		texts = append(texts, strings.ToValidUTF8(labels[i+1], "?"))
	}
	// One name has one row, and so one help text, whatever labels it carries.
	row, _ := documented.row(name)
	metric, err := prometheus.NewConstMetric(prometheus.NewDesc(name, row.help(), names, nil), row.valueType(), p.value, texts...)
	if err != nil {
		return nil, ""
	}
	return metric, name + "\x00" + strings.Join(texts, "\x00")
}

// seriesName replaces what a Prometheus name may not hold.
func seriesName(name string) string {
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
