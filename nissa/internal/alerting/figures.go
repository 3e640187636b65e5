package alerting

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"

	"github.com/esper-lite/weatherlight/nissa/internal/alert"
	"github.com/esper-lite/weatherlight/nissa/internal/grouping"
	"github.com/esper-lite/weatherlight/telemetry"
)

// figures are the counts of a desk.
type figures struct {
	rules            prometheus.Gauge
	reloads, changes *prometheus.CounterVec
	deliveries       *prometheus.CounterVec
	latency          *prometheus.HistogramVec
	unsaid, unkept   prometheus.Counter
}

// The series, as the operator's page lists them.
var (
	rowRules = row("nissa_rules", "", telemetry.Gauge,
		"Rules in force.")
	rowReloads = row("nissa_rules_reloads_total", "outcome", telemetry.Counter,
		"Times that the rules were read again: succeeded, or failed and stayed as they were.")
	rowChanges = row("nissa_alert_changes_total", "state", telemetry.Counter,
		"Alerts that began to fire, or ended.")
	rowAlerts = row("nissa_alerts", "rule,severity,state", telemetry.Gauge,
		"Alerts that are pending or fire now.")
	rowDropped = row("nissa_alert_subjects_dropped_total", "", telemetry.Counter,
		"Observations whose subject found no room.")
	rowFaults = row("nissa_rule_faults_total", "", telemetry.Counter,
		"Conditions that could not be answered; they count as not holding.")
	rowDeliveries = row("nissa_notifications_total", "outcome,receiver", telemetry.Counter,
		"Notifications by what became of them: delivered, or failed and tried again.")
	rowWaiting = row("nissa_notifications_waiting", "", telemetry.Gauge,
		"Alerts that a receiver has still to be told of.")
	rowUnnamed = row("nissa_notifications_unnamed_total", "", telemetry.Counter,
		"Alerts that came and went while a receiver was away, of which it is told the number alone.")
	rowLatency = row("nissa_notification_latency_seconds", "receiver", telemetry.Histogram,
		"Time from an alert's beginning to fire until its receiver was told.")
	rowUnsaid = row("nissa_alert_words_lost_total", "", telemetry.Counter,
		"Packets about alerts that the bus did not take.")
	rowUnkept = row("nissa_alert_state_failures_total", "", telemetry.Counter,
		"Times that the state of the alerts could not be written.")
	rowJudges = row("nissa_alerts_judging", "", telemetry.Gauge,
		"1 where the alerts are judged, 0 where what another Nissa judged is shown.")
	rowTarget = row("nissa_objective_target_ratio", "objective", telemetry.Gauge,
		"Share that must be good.")
	rowAttained = row("nissa_objective_attained_ratio", "objective", telemetry.Gauge,
		"Share that was good within the objective's window. Absent before anything was counted, like the next two.")
	rowLeft = row("nissa_objective_budget_left_ratio", "objective", telemetry.Gauge,
		"Share of the error budget that is left; negative when it is overdrawn.")
	rowBurn = row("nissa_objective_burn_rate_ratio", "objective,window", telemetry.Gauge,
		"How fast the error budget burned within the window; 1 uses it up exactly.")
)

func row(name, labels string, kind telemetry.SeriesKind, meaning string) telemetry.Series {
	return telemetry.Series{Name: name, Labels: labels, Kind: kind, Meaning: meaning}
}

// Series are those that a desk shows.
func Series() []telemetry.Series {
	return []telemetry.Series{
		rowRules, rowReloads, rowChanges, rowAlerts, rowDropped, rowFaults, rowDeliveries, rowWaiting, rowUnnamed, rowLatency, rowUnsaid,
		rowUnkept, rowJudges, rowTarget, rowAttained, rowLeft, rowBurn,
	}
}

func newFigures() *figures {
	counter := func(row telemetry.Series, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: row.Name, Help: row.Help()}, labels)
	}
	return &figures{
		rules:      prometheus.NewGauge(prometheus.GaugeOpts{Name: rowRules.Name, Help: rowRules.Help()}),
		reloads:    counter(rowReloads, "outcome"),
		changes:    counter(rowChanges, "state"),
		deliveries: counter(rowDeliveries, "outcome", "receiver"),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: rowLatency.Name, Help: rowLatency.Help(), Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"receiver"}),
		unsaid: prometheus.NewCounter(prometheus.CounterOpts{Name: rowUnsaid.Name, Help: rowUnsaid.Help()}),
		unkept: prometheus.NewCounter(prometheus.CounterOpts{Name: rowUnkept.Name, Help: rowUnkept.Help()}),
	}
}

func (f *figures) collectors() []prometheus.Collector {
	return []prometheus.Collector{f.rules, f.reloads, f.changes, f.deliveries, f.latency, f.unsaid, f.unkept}
}

// delivered counts a notification and how late it is. What fires on and was told before is not late.
func (f *figures) delivered(n grouping.Notification, err error, now time.Time) {
	if err != nil {
		f.deliveries.WithLabelValues("failed", n.Receiver).Inc()
		return
	}
	f.deliveries.WithLabelValues("delivered", n.Receiver).Inc()
	if n.Again {
		return
	}
	for _, a := range n.Firing {
		f.latency.WithLabelValues(n.Receiver).Observe(now.Sub(a.Fired).Seconds())
	}
}

// Describe names no series of objectives and alerts in advance: which there are is said by the rules.
func (d *Desk) Describe(chan<- *prometheus.Desc) {}

// Collect shows the figures, the alerts and the objectives.
func (d *Desk) Collect(metrics chan<- prometheus.Metric) {
	for _, c := range d.figures.collectors() {
		c.Collect(metrics)
	}
	show := func(row telemetry.Series, kind prometheus.ValueType, value float64, names []string, texts ...string) {
		desc := prometheus.NewDesc(row.Name, row.Help(), names, nil)
		if metric, err := prometheus.NewConstMetric(desc, kind, value, texts...); err == nil {
			metrics <- metric
		}
	}
	d.mu.Lock()
	alerts, dropped, faults, waiting := d.tracker.Alerts(), d.tracker.Dropped(), d.engine.Faults(), d.planner.Waiting()
	unnamed := d.planner.Unnamed()
	statuses, judging := d.objectives.Statuses(d.now()), 0.0
	if d.judges() {
		judging = 1
	}
	d.mu.Unlock()
	show(rowJudges, prometheus.GaugeValue, judging, nil)
	show(rowDropped, prometheus.CounterValue, float64(dropped), nil)
	show(rowFaults, prometheus.CounterValue, float64(faults), nil)
	show(rowWaiting, prometheus.GaugeValue, float64(waiting), nil)
	show(rowUnnamed, prometheus.CounterValue, float64(unnamed), nil)
	count := map[[3]string]float64{}
	for _, a := range alerts {
		if a.State != alert.Resolved {
			count[[3]string{a.Rule, a.Severity, string(a.State)}]++
		}
	}
	for key, n := range count {
		show(rowAlerts, prometheus.GaugeValue, n, []string{"rule", "severity", "state"}, key[:]...)
	}
	ofObjective := []string{"objective"}
	for _, s := range statuses {
		show(rowTarget, prometheus.GaugeValue, s.Objective.Target, ofObjective, s.Objective.Name)
		if !s.Known {
			continue
		}
		show(rowAttained, prometheus.GaugeValue, s.Attained, ofObjective, s.Objective.Name)
		show(rowLeft, prometheus.GaugeValue, s.Left, ofObjective, s.Objective.Name)
		for _, burn := range s.Burns {
			window := model.Duration(burn.Window).String()
			show(rowBurn, prometheus.GaugeValue, burn.Rate, []string{"objective", "window"}, s.Objective.Name, window)
		}
	}
}
