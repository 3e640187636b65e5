package kasmina

import (
	"maps"
	"slices"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// seed is one entry of the registry. It belongs to the owner goroutine.
type seed struct {
	id, blueprintID, runID string

	lifecycle  Lifecycle
	parameters map[string]float32
	mesh       []string
	blend      BlendConfig

	attached bool
	paused   bool
	misfit   string // why the kernel does not fit the host

	violations int
	age        uint32 // epochs observed since germination
	lastEpoch  uint32
	progress   progress
	earned     bool
	evidence   map[string]float32

	wait         *prefetch
	latency      time.Duration // from the request to the kernel
	embargoUntil time.Time

	events   eventQueue
	lastStep string
}

func (s *seed) stage() leyline.SeedLifecycleStage { return s.lifecycle.Stage() }

func newSeed(order seedOrder) *seed {
	return &seed{
		id: order.seedID, blueprintID: order.blueprintID, runID: order.runID,
		lifecycle: NewLifecycle(), parameters: maps.Clone(order.parameters), mesh: order.mesh, blend: order.blend,
	}
}

func (m *Manager) find(seedID string) *seed {
	for _, s := range m.seeds {
		if s.id == seedID {
			return s
		}
	}
	return nil
}

// move takes a seed to a stage, tells the host and reports it at once.
func (m *Manager) move(s *seed, to leyline.SeedLifecycleStage) {
	if err := s.lifecycle.To(to); err != nil {
		m.config.Logger.Error("seed did not move", "part", "kasmina", "seed", s.id, "error", err)
		return
	}
	s.progress, s.earned = progress{}, false
	if s.attached {
		m.host.SetStage(s.id, to)
	}
	m.emitSeed(s, "")
}

// subject is what the gates see of a seed.
func (m *Manager) subject(s *seed) gateSubject {
	subject := gateSubject{
		stage: s.stage(), blueprintID: s.blueprintID, parameters: s.parameters,
		attached: s.attached, violations: s.violations,
		progress: s.progress, promotion: m.config.Promotion,
		hostPresent: m.host != nil, requiredLayers: s.mesh, interfaceError: s.misfit,
	}
	if m.host != nil {
		subject.hostLayers = m.host.LayerNames()
	}
	return subject
}

// passGate evaluates a gate and reports it; a seed that fails it is culled.
func (m *Manager) passGate(s *seed, gate leyline.SeedLifecycleGate) bool {
	return m.settleGate(s, evaluateGate(gate, m.subject(s)))
}

// settleGate reports a gate's result and culls the seed that failed it.
func (m *Manager) settleGate(s *seed, result GateResult) bool {
	noteGate(&s.events, s.id, result)
	if !result.Passed {
		m.failGate(s, result)
	}
	return result.Passed
}

// failGate culls a seed for a gate it did not pass.
func (m *Manager) failGate(s *seed, result GateResult) {
	if result.Reason == reasonMeshIncomplete {
		s.events.add("mesh_coverage_missing", levelError, append([]string{"seed_id", s.id}, result.Attributes...)...)
	}
	s.events.add("gate_failure", levelOfFailure(result.Reason),
		"seed_id", s.id, "gate", result.Gate.String(), "reason", result.Reason)
	m.cull(s, result.Reason, levelWarning)
}

// cull takes a seed out of the model and puts it under embargo.
func (m *Manager) cull(s *seed, reason string, level leyline.TelemetryLevel) {
	started := time.Now()
	stage := s.stage()
	m.detach(s, reason)
	s.events.add("rollback_ready", level, "seed_id", s.id, "stage", stage.String(), "reason", reason,
		"latency_ms", decimalMS(time.Since(started)))
	m.move(s, stageCulled)
	s.embargoUntil = time.Now().Add(m.config.Embargo)
	m.move(s, stageEmbargoed)
}

// detach is on every way out: the host forgets the seed, the wait for its
// kernel ends.
func (m *Manager) detach(s *seed, reason string) {
	if m.host != nil {
		m.host.Detach(s.id)
	}
	s.attached, s.paused, s.misfit = false, false, ""
	m.cancelPrefetch(s, reason)
}

// release ends an embargo: the seed is reset and leaves the registry.
func (m *Manager) release(s *seed) {
	m.move(s, stageResetting)
	s.violations = 0
	if m.passResetGate(s) {
		m.move(s, stageDormant)
	}
	m.forget(s)
}

func (m *Manager) passResetGate(s *seed) bool {
	result := evaluateGate(gateReset, m.subject(s))
	noteGate(&s.events, s.id, result)
	return result.Passed
}

// terminate ends a fossilised seed.
func (m *Manager) terminate(s *seed, reason string) {
	m.detach(s, reason)
	s.events.add("rollback_ready", levelInfo, "seed_id", s.id, "stage", stageFossilized.String(), "reason", reason)
	m.move(s, stageTerminated)
	m.forget(s)
}

func (m *Manager) forget(s *seed) {
	m.lostEvents += s.events.dropped
	m.seeds = slices.DeleteFunc(m.seeds, func(other *seed) bool { return other == s })
}

func noteGate(events *eventQueue, seedID string, result GateResult) {
	level, outcome := levelWarning, "false"
	if result.Passed {
		level, outcome = levelInfo, "true"
	}
	pairs := []string{"seed_id", seedID, "gate", result.Gate.String(), "passed", outcome, "reason", result.Reason}
	events.add("gate_event", level, append(pairs, result.Attributes...)...)
}

// levelOfFailure is CRITICAL where a kernel could not be had or was not the
// one announced.
func levelOfFailure(reason string) leyline.TelemetryLevel {
	switch reason {
	case "stage_mismatch", "checksum_mismatch", "artifact_unreadable", "kernel_invalid", reasonPrefetchTimeout:
		return levelCritical
	default:
		return levelWarning
	}
}

// sweep looks at every deadline.
func (m *Manager) sweep(now time.Time) {
	m.ledger.sweep(now)
	m.sweepPrefetches(now)
	for _, s := range slices.Clone(m.seeds) {
		if s.stage() == stageEmbargoed && !now.Before(s.embargoUntil) {
			m.release(s)
		}
	}
	if m.global.urgent() {
		m.emitGlobal("")
	}
}
