package nissa

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/esper-lite/weatherlight/internal/version"
	"github.com/esper-lite/weatherlight/nissa/internal/runs"
	"github.com/esper-lite/weatherlight/nissa/internal/runstore"
	"github.com/esper-lite/weatherlight/telemetry"
)

// counts are the series with fixed names. All are vectors, also those without
// labels: a vector shows nothing before its first value, where a plain gauge
// would claim 0.
type counts struct {
	packets, states, reports, runs, signals *prometheus.CounterVec
	dropped, repeats, graphFallbacks        *prometheus.CounterVec
	hazardHigh, hazardCritical              *prometheus.CounterVec
	quarantine, elevatedRisk, reward        *prometheus.GaugeVec
	latency, measured                       *prometheus.HistogramVec

	rows []telemetry.Series
}

func newCounts() *counts {
	c := new(counts)
	c.packets = c.counter("esper_telemetry_packets_total", "Telemetry packets by source.", "source")
	c.states = c.counter("esper_system_state_packets_total", "System state packets by the subsystem that sent them.", "phase")
	c.reports = c.counter("esper_field_reports_total", "Field reports by outcome.", "outcome")
	c.runs = c.counter("esper_training_runs_total", "Training runs of which a system state packet told.")
	c.signals = c.counter("esper_emergency_signals_total", "Emergency signals of the bus by level.", "level")
	c.dropped = c.counter("nissa_points_dropped_total",
		"Metric points not shown, by reason: series_limit, source_limit, reserved_name, invalid_name; series given up: displaced.",
		"reason")
	c.repeats = c.counter("nissa_repeated_messages_total", "Messages delivered more than once and counted once, by type.", "type")
	c.graphFallbacks = c.counter("tolaria_graph_fallback_total", "Fallbacks of a trainer from captured graphs.")
	c.hazardHigh = c.counter("esper_tamiyo_bsds_hazard_high_total",
		"Blueprints of high hazard, by who judged them.", "provenance")
	c.hazardCritical = c.counter("esper_tamiyo_bsds_hazard_critical_total",
		"Blueprints of critical hazard, by who judged them.", "provenance")
	c.quarantine = c.gauge(quarantineRow, "1 while the blueprint last judged is quarantined.")
	c.elevatedRisk = c.gauge(elevatedRow, "1 while the blueprint last judged is of elevated risk.")
	c.reward = c.gauge("esper_simic_training_reward_total", "Sum of training rewards; may fall, in spite of its name.")
	c.latency = c.histogram("nissa_ingest_latency_ms", "Processing time of a message in milliseconds, by type.",
		[]float64{0.1, 0.5, 1, 2, 5, 10, 25, 50, 100}, "type")
	c.measured = c.histogram(measuredRow.Name, measuredRow.Meaning, prometheus.DefBuckets, measuredRow.Labels)
	return c
}

func (c *counts) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c.note(name, telemetry.Counter, help, labels)
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func (c *counts) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	c.note(name, telemetry.Gauge, help, labels)
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func (c *counts) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	c.note(name, telemetry.Histogram, help, labels)
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		// Who scrapes native histograms gets these as well, and finer.
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

func (c *counts) note(name string, kind telemetry.SeriesKind, meaning string, labels []string) {
	c.rows = append(c.rows, telemetry.Series{Name: name, Labels: strings.Join(labels, ","), Kind: kind, Meaning: meaning})
}

// register adds the series and the process's own to registry. Size tells how many
// series come from metric points.
func (c *counts) register(registry *prometheus.Registry, size func() int) {
	built := c.gauge("nissa_build_info",
		"Always 1: the version that --version tells, the commit of its sources and the compiler.", "goversion", "revision", "version")
	built.WithLabelValues(runtime.Version(), version.Revision(), version.String()).Set(1)
	const name, meaning = "nissa_series", "Series that come from metric points."
	c.note(name, telemetry.Gauge, meaning, nil)
	registry.MustRegister(
		c.packets, c.states, c.reports, c.runs, c.signals, c.dropped, c.repeats, c.graphFallbacks,
		c.hazardHigh, c.hazardCritical, c.quarantine, c.elevatedRisk, c.reward, c.latency, c.measured,
		built, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: meaning}, func() float64 { return float64(size()) }),
	)
}

// storeCounts show what the store keeps, and what it does not.
type storeCounts struct {
	runs, bytes, most, retention *prometheus.GaugeVec
	dropped                      *prometheus.CounterVec
}

func newStoreCounts(c *counts) *storeCounts {
	return &storeCounts{
		runs:      c.gauge("nissa_store_runs", "Training runs in the store."),
		bytes:     c.gauge("nissa_store_bytes", "About what the store keeps."),
		most:      c.gauge("nissa_store_max_bytes", "What the store keeps at most: from there on the oldest makes room."),
		retention: c.gauge("nissa_store_retention_seconds", "Age at which what the store keeps is removed."),
		dropped: c.counter("nissa_events_dropped_total",
			fmt.Sprintf("Events that were not stored: those beyond the first %d of a packet.", runs.MaxEvents)),
	}
}

func (g *storeCounts) set(size runstore.Size) {
	g.runs.WithLabelValues().Set(float64(size.Runs))
	g.bytes.WithLabelValues().Set(float64(size.Bytes))
	g.most.WithLabelValues().Set(float64(size.MostBytes))
	g.retention.WithLabelValues().Set(size.Retention.Seconds())
	g.dropped.WithLabelValues() // 0 before the first
}

// leaveOut counts events that the store does not take.
func (g *storeCounts) leaveOut(events int) {
	if events > 0 {
		g.dropped.WithLabelValues().Add(float64(events))
	}
}
