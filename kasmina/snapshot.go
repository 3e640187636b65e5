package kasmina

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/leyline"
)

// snapshot is what readers see of the manager. It is never changed once it is
// published.
type snapshot struct {
	seeds   []seedSnapshot
	metrics []point
	status  leyline.HealthStatus
	summary string
}

type seedSnapshot struct {
	blueprintID string
	state       *leyline.SeedState
}

// publish puts a new snapshot up.
func (m *Manager) publish() {
	s := &snapshot{metrics: m.points()}
	s.status, s.summary = m.health()
	for _, seed := range m.seeds {
		s.seeds = append(s.seeds, seedSnapshot{blueprintID: seed.blueprintID, state: m.state(seed)})
	}
	m.latest.Store(s)
}

func (m *Manager) state(s *seed) *leyline.SeedState {
	schedule, steps := m.ramp(s)
	state := withEvidence(seedState(s.id, s.stage(), schedule, steps), s.evidence)
	state.AgeEpochs = s.age
	state.Metrics["residence_epochs"] = float32(s.progress.residence)
	state.Metrics["earned"] = flag(s.earned)
	return state
}

// ramp is how far a seed's share has come.
func (m *Manager) ramp(s *seed) (AlphaSchedule, int) {
	if m.host == nil {
		return DefaultAlphaSchedule(), 0
	}
	if !s.attached {
		return m.host.Schedule(), 0
	}
	return m.host.Schedule(), m.host.AlphaSteps(s.id)
}

// SeedStates are the registered seeds in the order of germination. The caller
// owns the result.
func (m *Manager) SeedStates() []*leyline.SeedState {
	seeds := m.latest.Load().seeds
	states := make([]*leyline.SeedState, 0, len(seeds))
	for _, s := range seeds {
		states = append(states, proto.CloneOf(s.state))
	}
	return states
}

// Metrics are the manager's metrics by name. One that is kept apart by an
// attribute has the attribute's text as a suffix:
// kasmina.prefetch.requests_total.ready.
func (m *Manager) Metrics() map[string]float64 {
	metrics := make(map[string]float64)
	for _, p := range m.latest.Load().metrics {
		parts := []string{p.name}
		for i := 1; i < len(p.pairs); i += 2 {
			parts = append(parts, p.pairs[i])
		}
		metrics[strings.Join(parts, ".")] = p.value
	}
	return metrics
}

// MetricPoints are the same metrics as points with units and attributes.
func (m *Manager) MetricPoints() []*leyline.MetricPoint {
	var points []*leyline.MetricPoint
	for _, p := range m.latest.Load().metrics {
		points = append(points, &leyline.MetricPoint{
			Name: p.name, Value: p.value, Unit: p.unit, Attributes: pairsToMap(p.pairs),
		})
	}
	return points
}

// Health is the manager's health and its summary.
func (m *Manager) Health() (leyline.HealthStatus, string) {
	latest := m.latest.Load()
	return latest.status, latest.summary
}

func flag(set bool) float32 {
	if set {
		return 1
	}
	return 0
}
