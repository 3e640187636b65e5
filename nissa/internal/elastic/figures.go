package elastic

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/telemetry"
)

// Reasons why a document is dropped before it was sent.
const (
	dropFull    = "spool_full"
	dropSpool   = "spool_failed"
	dropNoJSON  = "not_json"
	dropDamaged = "damaged"
)

// The series, as the operator's page lists them.
var (
	rowBatches = row("nissa_bulk_batches_total", "", telemetry.Counter, "Bulk requests that were sent to Elasticsearch.")
	rowIndexed = row("nissa_bulk_indexed_total", "", telemetry.Counter,
		"Documents that Elasticsearch has taken, or had already.")
	rowFailed = row("nissa_bulk_failed_total", "", telemetry.Counter,
		"Documents that Elasticsearch never takes; they are dropped.")
	rowRetries = row("nissa_bulk_retries_total", "", telemetry.Counter,
		"Documents that are sent again, each time that they are.")
	rowDropped = row("nissa_bulk_dropped_total", "index,reason", telemetry.Counter,
		"Documents dropped before they were sent, by index and reason: spool_full, spool_failed, not_json, damaged.")
	rowLatency = row("nissa_bulk_flush_latency_ms", "", telemetry.Histogram,
		"Time until a bulk request was answered, or failed, in milliseconds.")
	rowWaiting = row("nissa_bulk_waiting_documents", "index", telemetry.Gauge, "Documents that wait, by index.")
	rowBytes   = row("nissa_bulk_waiting_bytes", "index", telemetry.Gauge, "What they take on the disk.")
	rowMost    = row("nissa_bulk_waiting_max_bytes", "", telemetry.Gauge, "What all take at most: from there on new ones are dropped.")
)

func row(name, labels string, kind telemetry.SeriesKind, meaning string) telemetry.Series {
	return telemetry.Series{Name: name, Labels: labels, Kind: kind, Meaning: meaning}
}

// Series are those that an indexer shows.
func Series() []telemetry.Series {
	return []telemetry.Series{
		rowBatches, rowIndexed, rowFailed, rowRetries, rowDropped, rowLatency, rowWaiting, rowBytes, rowMost,
	}
}

// figures are the counts of an indexer.
type figures struct {
	batches, indexed, failed, retries prometheus.Counter
	dropped                           *prometheus.CounterVec
	latency                           prometheus.Histogram
}

func newFigures(indices []string) *figures {
	counter := func(row telemetry.Series) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: row.Name, Help: row.Help()})
	}
	f := &figures{
		batches: counter(rowBatches), indexed: counter(rowIndexed), failed: counter(rowFailed), retries: counter(rowRetries),
		dropped: prometheus.NewCounterVec(
			prometheus.CounterOpts{Name: rowDropped.Name, Help: rowDropped.Help()}, strings.Split(rowDropped.Labels, ","),
		),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: rowLatency.Name, Help: rowLatency.Help(), Buckets: []float64{0.5, 1, 2, 5, 10, 25, 50, 100, 250},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}),
	}
	for _, reason := range []string{dropFull, dropSpool, dropNoJSON, dropDamaged} {
		for _, index := range indices {
			f.dropped.WithLabelValues(index, reason) // shown as 0, or the first one would be no increase
		}
	}
	return f
}

// Describe names no series in advance.
func (x *Indexer) Describe(chan<- *prometheus.Desc) {}

// Collect shows the figures.
func (x *Indexer) Collect(metrics chan<- prometheus.Metric) {
	f := x.figures
	for _, c := range []prometheus.Collector{f.batches, f.indexed, f.failed, f.retries, f.dropped, f.latency} {
		c.Collect(metrics)
	}
	gauge := func(row telemetry.Series, value int64, labels prometheus.Labels) {
		desc := prometheus.NewDesc(row.Name, row.Help(), nil, labels)
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value))
	}
	for index, lane := range x.lanes {
		documents, bytes := lane.spool.waiting()
		gauge(rowWaiting, int64(documents), prometheus.Labels{"index": index})
		gauge(rowBytes, bytes, prometheus.Labels{"index": index})
	}
	gauge(rowMost, x.config.MaxBytes, nil)
}
