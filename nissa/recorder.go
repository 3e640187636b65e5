package nissa

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/esper-lite/weatherlight/leyline"
)

// recorder turns messages into series. It is safe for concurrent use.
type recorder struct {
	registry *prometheus.Registry
	series   *seriesTable
	counts   *counts
	store    *storeCounts

	mu        sync.Mutex
	telemetry *recent
	states    *recent
	reports   *recent
	signals   *recent
	runs      *recent
	sources   *capped
	phases    *capped
	outcomes  *capped
	origins   *capped
	levels    *capped
}

func newRecorder(c Config) *recorder {
	limits := c.Limits.withDefaults()
	counts := newCounts()
	flags := map[string]*shownFlag{quarantineRow: {gauge: counts.quarantine}, elevatedRow: {gauge: counts.elevatedRisk}}
	r := &recorder{
		registry:  prometheus.NewRegistry(),
		counts:    counts,
		store:     newStoreCounts(counts),
		series:    newSeriesTable(c, counts.dropped, flags),
		telemetry: newRecent(limits.Recent),
		states:    newRecent(limits.Recent),
		reports:   newRecent(limits.Recent),
		signals:   newRecent(limits.Recent),
		runs:      newRecent(limits.Recent),
		sources:   newCapped(limits, counts.packets),
		phases:    newCapped(limits, counts.states),
		outcomes:  newCapped(limits, counts.reports),
		origins:   newCapped(limits, counts.hazardHigh, counts.hazardCritical),
		levels:    newCapped(limits, counts.signals),
	}
	counts.register(r.registry, r.series.size)
	r.registry.MustRegister(r.store.runs, r.store.bytes, r.store.most, r.store.retention, r.store.dropped)
	for _, row := range counts.rows {
		for _, name := range namesOf(row) {
			r.series.own[name] = struct{}{}
		}
	}
	r.registry.MustRegister(r.series)
	return r
}

// recordTelemetry takes a packet from any stream. A packet delivered again
// changes nothing; ids are unique per source only. It tells whether the packet is new.
func (r *recorder) recordTelemetry(packet *leyline.TelemetryPacket) bool {
	defer r.observe("telemetry", time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	source := packet.GetSourceSubsystem()
	if r.repeated(r.telemetry, "telemetry", source, packet.GetPacketId()) {
		return false
	}
	r.counts.packets.WithLabelValues(r.sources.value(source)).Inc()
	r.series.record(packet, time.Now())
	r.recordLatencies(packet)
	r.recordRisk(packet)
	r.recordTraining(packet)
	return true
}

func (r *recorder) recordState(state *leyline.SystemStatePacket) {
	defer r.observe("system_state", time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.repeated(r.states, "system_state", state.GetTrainingRunId(), state.GetPacketId()) {
		return
	}
	phase := strings.ToLower(state.GetSourceSubsystem())
	phase = cmp.Or(phase, "unknown")
	r.counts.states.WithLabelValues(r.phases.value(phase)).Inc()
	if run := state.GetTrainingRunId(); run != "" && r.runs.add(run) {
		r.counts.runs.WithLabelValues().Inc()
	}
}

func (r *recorder) recordReport(report *leyline.FieldReport) {
	defer r.observe("field_report", time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.repeated(r.reports, "field_report", "", report.GetReportId()) {
		return
	}
	outcome := "unknown"
	if report.GetOutcome() != leyline.FieldReportOutcome_FIELD_REPORT_OUTCOME_UNSPECIFIED {
		outcome = strings.ToLower(strings.TrimPrefix(report.GetOutcome().String(), "FIELD_REPORT_OUTCOME_"))
	}
	r.counts.reports.WithLabelValues(r.outcomes.value(outcome)).Inc()
}

// recordEmergency counts signals by level. A signal has no id, so its entry on
// the stream stands for one.
func (r *recorder) recordEmergency(signal *leyline.EmergencySignal, entry string) {
	defer r.observe("emergency_signal", time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.repeated(r.signals, "emergency_signal", "", entry) {
		return
	}
	level := strings.ToLower(strings.TrimPrefix(signal.GetLevel().String(), "EMERGENCY_LEVEL_"))
	r.counts.signals.WithLabelValues(r.levels.value(level)).Inc()
}

// repeated counts a message seen before. One without an id is always new.
func (r *recorder) repeated(seen *recent, kind, owner, id string) bool {
	if id == "" || seen.add(owner+"\x00"+id) {
		return false
	}
	r.counts.repeats.WithLabelValues(kind).Inc()
	return true
}

// repeat counts a message that the store had taken in before.
func (r *recorder) repeat(kind leyline.BusMessageType) {
	r.counts.repeats.WithLabelValues(strings.ToLower(strings.TrimPrefix(kind.String(), "BUS_MESSAGE_TYPE_"))).Inc()
}

func (r *recorder) observe(kind string, started time.Time) {
	r.counts.latency.WithLabelValues(kind).Observe(float64(time.Since(started).Microseconds()) / 1000)
}
