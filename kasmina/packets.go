package kasmina

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/telemetry"
)

const source = "kasmina"

func (m *Manager) noteGlobal(description string, level leyline.TelemetryLevel, pairs ...string) {
	m.global.add(description, level, pairs...)
}

// emitSeed emits a seed's packet with the events that wait for it. Every
// packet tells the stage and the share, by which an observer follows the seed.
func (m *Manager) emitSeed(s *seed, step string) {
	schedule, steps := m.ramp(s)
	events := []*leyline.TelemetryEvent{{
		Description: "seed_stage", Level: levelInfo,
		Attributes: map[string]string{
			"seed_id": s.id, "stage": s.stage().String(),
			"alpha": decimal(alphaOf(s.stage(), schedule, steps)),
		},
	}}
	if s.blend.Configured {
		events = append(events, blendEvent(s))
	}
	events = append(events, s.events.take("seed_queue_dropped", "seed_id", s.id)...)

	status, summary := m.seedHealth(s)
	packet := m.packet(fmt.Sprintf("kasmina-seed-%s-%d", s.id, m.nextPacket()), events, step).
		Health(status, summary).Indicator("seed_id", s.id)
	addPoints(packet, m.seedPoints(s))
	m.config.Emit(packet.Build())
}

// emitGlobal emits what belongs to no seed.
func (m *Manager) emitGlobal(step string) {
	events := m.global.take("queue_dropped")
	if m.leaks > m.toldLeaks {
		m.toldLeaks = m.leaks
		events = append(events, &leyline.TelemetryEvent{
			Description: "isolation_violations", Level: levelWarning,
			Attributes: map[string]string{"violations": strconv.FormatInt(m.leaks, 10)},
		})
	}
	status, summary := m.health()
	m.config.Emit(m.packet(fmt.Sprintf("kasmina-global-%d", m.nextPacket()), events, step).
		Health(status, summary).Indicator("seeds", number(len(m.seeds))).Build())
}

// packet starts a packet with the manager's metrics. Its priority follows from
// all of its events, those that the builder itself adds included.
func (m *Manager) packet(id string, events []*leyline.TelemetryEvent, step string) *telemetry.Packet {
	packet := telemetry.New(source, source).WithID(id).Events(events...).
		Indicator(telemetry.PriorityIndicator, telemetry.EventPriority(events).String()).
		Indicator("step_index", step)
	addPoints(packet, m.points())
	return packet
}

func addPoints(packet *telemetry.Packet, points []point) {
	for _, p := range points {
		packet.Metric(p.name, p.value, p.unit, p.pairs...)
	}
}

func blendEvent(s *seed) *leyline.TelemetryEvent {
	pairs := []string{"seed_id", s.id, "mode", string(s.blend.Mode), "source", s.blend.Source}
	if n := len(s.blend.Channels); n > 0 {
		pairs = append(pairs, "alpha_vec_len", number(n))
	}
	return &leyline.TelemetryEvent{Description: "blend_config", Level: levelInfo, Attributes: pairsToMap(pairs)}
}

func (m *Manager) nextPacket() int64 {
	m.packets++
	return m.packets
}

// report emits the packets of a step: every seed that the step has not
// reported yet when all is set, and every seed with new events.
func (m *Manager) report(step string, all bool) {
	for _, s := range slices.Clone(m.seeds) {
		repeated := step != "" && s.lastStep == step
		if s.events.empty() && (!all || repeated) {
			continue
		}
		s.lastStep = step
		m.emitSeed(s, step)
	}
	if !m.global.empty() || m.leaks > m.toldLeaks {
		m.emitGlobal(step)
	}
}

// flushGlobal emits the events that belong to no seed. It is called once a
// sweep, so that an operator hears of a refused command at once and a flood of
// them makes a few packets a second.
func (m *Manager) flushGlobal() {
	if !m.global.empty() {
		m.emitGlobal("")
	}
}

// flushUrgent emits the packets of seeds for which a CRITICAL event waits.
func (m *Manager) flushUrgent() {
	for _, s := range m.seeds {
		if s.events.urgent() {
			m.emitSeed(s, "")
		}
	}
}
