package karn

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// record counts selections and keeps the events between two drains.
type record struct {
	mu     sync.Mutex
	limit  int
	events []*leyline.TelemetryEvent

	total, failures, denied, openings float64
	safe, experimental, adversarial   float64
	latencyMs                         float64
}

func (r *record) succeeded(d *leyline.BlueprintDescriptor, conservative bool, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	r.latencyMs = float64(took) / float64(time.Millisecond)
	switch d.GetTier() {
	case leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL:
		r.experimental++
	case leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK:
		r.adversarial++
	default:
		r.safe++
	}
	r.add("karn.selection_succeeded", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, map[string]string{
		"blueprint_id": d.GetBlueprintId(),
		"tier":         d.GetTier().String(),
		"latency_ms":   fmt.Sprintf("%.3f", r.latencyMs),
		"conservative": strconv.FormatBool(conservative),
	})
}

func (r *record) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ErrDenied) {
		r.denied++
		r.warn("karn.breaker_denied", "reason", "circuit_open")
		return
	}
	r.failures++
	r.warn("karn.selection_failed", "error", failureClass(err))
}

// opened is called once for each time the circuit opens, not for each look at
// an open circuit.
func (r *record) opened(failures int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.openings++
	r.warn("karn.breaker_opened", "failures", strconv.Itoa(failures))
}

func (r *record) warn(description, key, value string) {
	r.add(description, leyline.TelemetryLevel_TELEMETRY_LEVEL_WARNING, map[string]string{key: value})
}

// add drops the oldest event when full: the newest tell what is wrong now.
func (r *record) add(description string, level leyline.TelemetryLevel, attributes map[string]string) {
	if len(r.events) >= r.limit {
		r.events = r.events[1:]
	}
	r.events = append(r.events, &leyline.TelemetryEvent{
		Description: description, Level: level, Attributes: attributes,
	})
}

// failureClass is the short name of an error's kind, for the event.
func failureClass(err error) string {
	var parameter *ParameterError
	var refused *RefusedError
	switch {
	case errors.Is(err, ErrUnknownBlueprint):
		return "unknown_blueprint"
	case errors.Is(err, ErrNoCandidate):
		return "no_candidate"
	case errors.As(err, &parameter):
		return "invalid_parameter"
	case errors.As(err, &refused):
		return "refused"
	default:
		return "approvals_unavailable"
	}
}

// DrainEvents returns the events since the last drain, oldest first, numbered
// from evt-1.
func (c *Catalog) DrainEvents() []*leyline.TelemetryEvent {
	c.record.mu.Lock()
	defer c.record.mu.Unlock()
	drained := c.record.events
	c.record.events = nil
	for i, e := range drained {
		e.EventId = "evt-" + strconv.Itoa(i+1)
	}
	return drained
}

// Metrics returns the counters of Select by metric name. Latency is that of
// the last success, in milliseconds; the breaker's state is a Leyline
// CircuitBreakerState number.
func (c *Catalog) Metrics() map[string]float64 {
	// Asked before locking: a state change calls back into the record.
	state := leyline.CircuitState(c.circuit.State())
	r := c.record
	r.mu.Lock()
	defer r.mu.Unlock()
	return map[string]float64{
		"karn.requests.total":         r.total,
		"karn.requests.failed":        r.failures,
		"karn.breaker.denied":         r.denied,
		"karn.breaker.open_total":     r.openings,
		"karn.breaker.state":          float64(state),
		"karn.selection.safe":         r.safe,
		"karn.selection.experimental": r.experimental,
		"karn.selection.adversarial":  r.adversarial,
		"karn.selection.latency_ms":   r.latencyMs,
	}
}
