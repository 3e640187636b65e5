package summary

import (
	"cmp"
	"strings"
	"sync"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

const coveragePrefix = "tamiyo.gnn.feature_coverage."

// Mirror keeps what the summary repeats of Tamiyo's packets: how much of
// its features it saw, and the last word on a blueprint's safety. The Tamiyo of
// this process carries no such figures; one in a trainer's process may. Its zero value is ready.
type Mirror struct {
	mu                 sync.Mutex
	coverage           map[string]float64
	provenance, hazard string
}

// Observe takes a packet, from whichever subsystem.
func (m *Mirror) Observe(packet *leyline.TelemetryPacket) {
	if packet.GetSourceSubsystem() != "tamiyo" {
		return
	}
	coverage := make(map[string]float64)
	for _, metric := range packet.GetMetrics() {
		if feature, found := strings.CutPrefix(metric.GetName(), coveragePrefix); found {
			coverage[feature] = metric.GetValue()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(coverage) > 0 {
		m.coverage = coverage
	}
	for _, event := range packet.GetEvents() {
		m.observeHazard(event)
	}
}

func (m *Mirror) observeHazard(event *leyline.TelemetryEvent) {
	implied := ""
	switch event.GetDescription() {
	case "bsds_hazard_critical":
		implied = "CRITICAL"
	case "bsds_hazard_high":
		implied = "HIGH"
	case "bsds_present", "bsds_handling_quarantine":
	default:
		return
	}
	attributes := event.GetAttributes()
	m.provenance = strings.ToLower(attributes["provenance"])
	m.hazard = strings.ToUpper(cmp.Or(attributes["hazard"], attributes["hazard_band"], implied))
}

// Figures are the shares that were seen last.
func (m *Mirror) Figures() []telemetry.Figure {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []telemetry.Figure{telemetry.MeasureEach("weatherlight.tamiyo.coverage.<feature>", "ratio",
		"Share of the feature that a trainer's Tamiyo saw, as its last packet said. Absent without one.", m.coverage)}
}

func (m *Mirror) indicate(packet *telemetry.Packet) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.provenance != "" {
		packet.Indicator("bsds_provenance", m.provenance)
	}
	if m.hazard != "" {
		packet.Indicator("bsds_hazard", m.hazard)
	}
}
