package kasmina

import (
	"strconv"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Annotations by which the controller tells of its own state.
var (
	fallbackAnnotations = []string{
		"tamiyo_fallback_seed", "tamiyo_fallback_blueprint", "tamiyo_conservative_fallback",
	}
	echoedAnnotations = []string{
		"feature_coverage", "risk_reason", "blueprint_risk", "blueprint_tier", "blueprint_stage",
	}
)

// germinate starts a new seed. Everything that can refuse it comes before
// anything is created, so a live seed is never touched by a second germination.
func (m *Manager) germinate(cmd *leyline.AdaptationCommand, order seedOrder) error {
	if rejected := m.admit(cmd, order); rejected != nil {
		return rejected
	}
	s := newSeed(order)
	sanity := evaluateGate(gateSanity, m.subject(s))
	if !sanity.Passed {
		noteGate(&m.global, s.id, sanity)
		rejected := refuse(cmd, ReasonPreflight, levelError)
		rejected.Detail = sanity.Reason
		return rejected
	}
	if !m.breaker.allow(time.Now()) {
		return refuse(cmd, ReasonBreakerOpen, levelWarning)
	}
	m.seeds = append(m.seeds, s)
	noteOperation(s, cmd, order)
	noteController(s, order.annotations)
	noteGate(&s.events, s.id, sanity)
	m.move(s, stageGerminated)
	s.wait = m.prefetch.begin(s.id, s.blueprintID, s.runID)
	m.requestKernel(s, m.prefetch.attempt(s.wait, time.Now()))
	return nil
}

// admit refuses a germination that cannot be started.
func (m *Manager) admit(cmd *leyline.AdaptationCommand, order seedOrder) error {
	if s := m.find(order.seedID); s != nil {
		return refuseExisting(cmd, s)
	}
	switch {
	case asksForFallback(order.annotations):
		m.fallbacks++
		m.noteGlobal("tamiyo_fallback_requested", levelCritical,
			"seed_id", order.seedID, "blueprint_id", order.blueprintID)
		return refuse(cmd, ReasonFallbackKernel, levelCritical)
	case m.config.Requests == nil:
		return refuse(cmd, ReasonPrefetchUnavailable, levelError)
	case len(m.seeds) >= m.config.MaxSeeds:
		return refuse(cmd, ReasonTooManySeeds, levelWarning)
	default:
		return nil
	}
}

func refuseExisting(cmd *leyline.AdaptationCommand, s *seed) error {
	if s.stage() == stageEmbargoed {
		rejected := refuse(cmd, ReasonSeedEmbargoed, levelWarning)
		rejected.Detail = "until " + s.embargoUntil.UTC().Format(time.RFC3339)
		return rejected
	}
	rejected := refuse(cmd, ReasonSeedLive, levelWarning)
	rejected.Detail = s.stage().String()
	return rejected
}

func asksForFallback(annotations map[string]string) bool {
	for _, name := range fallbackAnnotations {
		if isTrue(annotations[name]) {
			return true
		}
	}
	return false
}

// noteController echoes what the controller annotated, and warns when it
// decided on thin features.
func noteController(s *seed, annotations map[string]string) {
	pairs := []string{"seed_id", s.id}
	for _, name := range echoedAnnotations {
		if text := annotations[name]; text != "" {
			pairs = append(pairs, name, text)
		}
	}
	if len(pairs) == 2 {
		return
	}
	s.events.add("tamiyo_annotations", levelInfo, pairs...)
	coverage, err := strconv.ParseFloat(annotations["feature_coverage"], 64)
	if err != nil || coverage >= 0.3 {
		return
	}
	level := levelWarning
	if coverage < 0.1 {
		level = levelCritical
	}
	s.events.add("degraded_inputs", level, append(pairs, "coverage_avg", strconv.FormatFloat(coverage, 'f', 3, 64))...)
}
