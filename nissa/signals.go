package nissa

import (
	"math"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	elevatedRisk   = 0.8
	blueprintRisk  = "tamiyo.blueprint.risk"
	trainingReward = "simic.training.reward"

	quarantineRow = "tamiyo_bsds_quarantine_active"
	elevatedRow   = "tamiyo_bsds_elevated_risk"
)

// recordRisk follows Tamiyo's judgement of blueprints. Only a packet that
// judged one may clear the flags: absence is not recovery.
func (r *recorder) recordRisk(packet *leyline.TelemetryPacket) {
	for _, event := range packet.GetEvents() {
		switch event.GetDescription() {
		case "bsds_hazard_high":
			r.counts.hazardHigh.WithLabelValues(r.provenance(event)).Inc()
		case "bsds_hazard_critical":
			r.counts.hazardCritical.WithLabelValues(r.provenance(event)).Inc()
		}
	}
	if packet.GetSourceSubsystem() != "tamiyo" {
		return
	}
	now := time.Now()
	said := saidAt(packet, now)
	risk, judged := metric(packet, blueprintRisk)
	quarantined := hasEvent(packet, "bp_quarantine")
	if judged {
		r.series.flag(elevatedRow, flag(risk >= elevatedRisk), said, now)
	}
	if judged || quarantined {
		r.series.flag(quarantineRow, flag(quarantined), said, now)
	}
}

func (r *recorder) recordTraining(packet *leyline.TelemetryPacket) {
	switch packet.GetSourceSubsystem() {
	case "tolaria":
		for _, event := range packet.GetEvents() {
			if event.GetDescription() == "tolaria.graph_fallback" {
				r.counts.graphFallbacks.WithLabelValues().Inc()
			}
		}
	case "simic":
		if reward, found := metric(packet, trainingReward); found && !math.IsNaN(reward) && !math.IsInf(reward, 0) {
			r.counts.reward.WithLabelValues().Add(reward)
		}
	}
}

func (r *recorder) provenance(event *leyline.TelemetryEvent) string {
	provenance := strings.ToLower(event.GetAttributes()["provenance"])
	if provenance == "" {
		return "unknown"
	}
	return r.origins.value(provenance)
}

// metric returns the last value of the metric called name.
func metric(packet *leyline.TelemetryPacket, name string) (value float64, found bool) {
	for _, point := range packet.GetMetrics() {
		if point.GetName() == name {
			value, found = point.GetValue(), true
		}
	}
	return value, found
}

func hasEvent(packet *leyline.TelemetryPacket, name string) bool {
	for _, event := range packet.GetEvents() {
		if event.GetDescription() == name {
			return true
		}
	}
	return false
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
