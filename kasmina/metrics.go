package kasmina

import (
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// point is one metric before it is put into a packet.
type point struct {
	name  string
	value float64
	unit  string
	pairs []string // names and texts of attributes
}

const unitCount, unitMS = "count", "ms"

// points are the manager's metrics, which every packet carries.
func (m *Manager) points() []point {
	points := []point{
		{"kasmina.seeds.active", float64(len(m.seeds)), unitCount, nil},
		{"kasmina.isolation.violations", float64(m.leaks), unitCount, nil},
	}
	points = append(points, m.verifierPoints()...)
	points = append(points, m.prefetchPoints()...)
	return append(points,
		point{"kasmina.fallback.active", 0, "bool", nil},
		point{"kasmina.fallback.events_total", float64(m.fallbacks), unitCount, nil},
		point{"kasmina.breaker.state", float64(m.breaker.state), "state", nil},
		point{"kasmina.breaker.failures", float64(m.breaker.failures), unitCount, nil},
		point{"kasmina.cache.kernel_size", float64(m.attachedKernels()), unitCount, nil},
		point{"kasmina.telemetry.events_dropped_total", float64(m.droppedEvents()), unitCount, nil},
	)
}

func (m *Manager) verifierPoints() []point {
	points := []point{{"kasmina.command_verifier.accepted_total", float64(m.verifier.accepted), unitCount, nil}}
	for _, reason := range slices.Sorted(maps.Keys(m.rejected)) {
		points = append(points, point{"kasmina.command_verifier.rejections_total",
			float64(m.rejected[reason]), unitCount, []string{"reason", reason}})
	}
	points = appendNonZero(points, "kasmina.command_verifier.validation_latency_ms", m.verifier.latencyMS)
	return append(points,
		point{"kasmina.nonce_ledger.size", float64(m.ledger.size()), unitCount, nil},
		point{"kasmina.nonce_ledger.evictions_total", float64(m.ledger.evictions), unitCount, nil},
		point{"kasmina.nonce_ledger.ttl_seconds", nonceTTL.Seconds(), "seconds", nil},
	)
}

func (m *Manager) prefetchPoints() []point {
	points := []point{{"kasmina.prefetch.inflight", float64(len(m.prefetch.waiting)), unitCount, nil}}
	for _, status := range slices.Sorted(maps.Keys(m.prefetch.counts)) {
		points = append(points, point{"kasmina.prefetch.requests_total",
			float64(m.prefetch.counts[status]), unitCount, []string{"status", status}})
	}
	points = append(points,
		point{"kasmina.prefetch.latency_ms", milliseconds(m.prefetch.meanLatency()), unitMS, nil},
		point{"kasmina.prefetch.unknown_total", float64(m.prefetch.unknown.Load()), unitCount, nil})
	points = appendNonZero(points, "kasmina.prefetch.last_latency_ms", milliseconds(m.prefetch.last))
	return appendNonZero(points, "kasmina.kernel.fetch_latency_ms", milliseconds(m.latestFetch()))
}

func appendNonZero(points []point, name string, value float64) []point {
	if value == 0 {
		return points
	}
	return append(points, point{name, value, unitMS, nil})
}

func (m *Manager) attachedKernels() int {
	attached := 0
	for _, s := range m.seeds {
		if s.attached {
			attached++
		}
	}
	return attached
}

func (m *Manager) droppedEvents() int64 {
	dropped := m.global.dropped + m.lostEvents
	for _, s := range m.seeds {
		dropped += s.events.dropped
	}
	return dropped
}

// latestFetch is how long the youngest seed with a kernel waited for it.
func (m *Manager) latestFetch() time.Duration {
	for _, s := range slices.Backward(m.seeds) {
		if s.latency > 0 {
			return s.latency
		}
	}
	return 0
}

// seedPoints are the metrics of one seed.
func (m *Manager) seedPoints(s *seed) []point {
	schedule, steps := m.ramp(s)
	id := []string{"seed_id", s.id}
	latency := milliseconds(s.latency)
	points := []point{
		{"kasmina.seed.stage", float64(s.stage()), "state", id},
		{"kasmina.seed.alpha", alphaOf(s.stage(), schedule, steps), "ratio", id},
		{"kasmina.seed.kernel_attached", float64(flag(s.attached)), "flag", id},
		{"kasmina.seed.kernel_latency_ms", latency, unitMS, id},
		{"kasmina.seed.last_kernel_latency_ms", latency, unitMS, id},
		{"kasmina.seed.isolation_violations", float64(s.violations), unitCount, id},
		{"kasmina.seed.fallback_used", 0, "flag", id},
	}
	if s.stage() == stageBlending {
		points = append(points, point{"kasmina.seed.alpha_steps", float64(steps), unitCount, id})
	}
	return points
}

// health is the worst health of the registered seeds.
func (m *Manager) health() (leyline.HealthStatus, string) {
	status, summary := leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "nominal"
	for _, s := range m.seeds {
		if worse, why := m.seedHealth(s); worse > status {
			status, summary = worse, why
		}
	}
	return status, summary
}

func (m *Manager) seedHealth(s *seed) (leyline.HealthStatus, string) {
	switch {
	case s.violations > 0:
		return leyline.HealthStatus_HEALTH_STATUS_UNHEALTHY, "violations"
	case s.latency > m.config.LatencyBudget:
		return leyline.HealthStatus_HEALTH_STATUS_DEGRADED, "latency_high"
	default:
		return leyline.HealthStatus_HEALTH_STATUS_HEALTHY, "nominal"
	}
}
