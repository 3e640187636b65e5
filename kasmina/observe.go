package kasmina

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/esper-lite/weatherlight/leyline"
)

type hostRequest struct{ host Host }

// handle replaces the host. What is attached to the old one has lost its place.
func (r hostRequest) handle(m *Manager, done func(error)) {
	defer done(nil)
	if m.host == r.host {
		return
	}
	for _, s := range slices.Clone(m.seeds) {
		switch {
		case !s.attached:
		case s.stage() == stageFossilized:
			m.terminate(s, reasonHostReplaced)
		default:
			m.settleGate(s, failed(gateInterface, reasonHostReplaced))
		}
	}
	m.host = r.host
}

type observeRequest struct {
	epoch    uint32
	seedID   string
	evidence map[string]float32
}

func (r observeRequest) handle(m *Manager, done func(error)) {
	s := m.find(r.seedID)
	if s == nil {
		done(fmt.Errorf("observe seed %s: %w", r.seedID, ErrUnknownSeed))
		return
	}
	done(m.observe(s, r))
}

func (m *Manager) observe(s *seed, r observeRequest) error {
	if !s.attached || s.paused || (s.age > 0 && r.epoch == s.lastEpoch) {
		return nil
	}
	if s.age > 0 && r.epoch < s.lastEpoch {
		return fmt.Errorf("observe seed %s in epoch %d after %d: %w", s.id, r.epoch, s.lastEpoch, ErrEpochBack)
	}
	seen := readEvidence(r.evidence)
	s.age++
	s.lastEpoch, s.evidence = r.epoch, maps.Clone(r.evidence)
	s.progress.note(seen, m.config.Promotion.PlateauGain)
	m.noteHealth(s, seen)
	if s.stage() == stageFossilized {
		return nil // kept for good: only a command can end it
	}
	m.apply(s, judge(m.subject(s), m.ramped(s)))
	return nil
}

// noteHealth records what the trainer saw go wrong.
func (m *Manager) noteHealth(s *seed, seen evidence) {
	if seen.leaks() {
		s.violations++
		m.leaks++
		level := levelWarning
		if s.stage() == stageFossilized {
			level = levelCritical // it cannot be culled: only a command can end it
		}
		s.events.add("violation_recorded", level, "seed_id", s.id, "violations", number(s.violations))
	}
	if seen.forwardFaults != 0 {
		s.events.add("seed_forward_error", levelWarning, "seed_id", s.id, "reason", m.host.Fault(s.id))
	}
}

func (m *Manager) ramped(s *seed) bool {
	return m.host.AlphaSteps(s.id) >= m.host.Schedule().Steps
}

// apply carries a verdict out.
func (m *Manager) apply(s *seed, v verdict) {
	switch {
	case v.cull != nil:
		m.settleGate(s, *v.cull)
	case v.to == stageFossilized:
		s.earned = true
		if m.config.AutoFossilize {
			m.promote(s, v)
		}
	case v.to != stageUnknown:
		m.promote(s, v)
	default:
		s.earned = false
	}
}

// promote moves a seed when it passes the gates on the way.
func (m *Manager) promote(s *seed, v verdict) {
	for _, gate := range v.gates {
		if !m.passGate(s, gate) {
			return
		}
	}
	m.move(s, v.to)
}

type finalizeRequest struct{ step int64 }

func (r finalizeRequest) handle(m *Manager, done func(error)) {
	if r.step < 0 {
		m.report("", false)
	} else {
		m.report(strconv.FormatInt(r.step, 10), true)
	}
	done(nil)
}

// BlendingSeeds are the seeds in BLENDING by blueprint, each list in the order
// of germination. The caller owns the result.
func (m *Manager) BlendingSeeds() map[string][]string {
	blending := make(map[string][]string)
	for _, s := range m.latest.Load().seeds {
		if s.state.GetStage() == leyline.SeedLifecycleStage_SEED_STAGE_BLENDING {
			blending[s.blueprintID] = append(blending[s.blueprintID], s.state.GetSeedId())
		}
	}
	return blending
}
