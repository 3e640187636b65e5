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
	stats  Stats // but its circuit
}

func (r *record) succeeded(d *leyline.BlueprintDescriptor, conservative bool, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Selected++
	r.stats.LatencyMs = float64(took) / float64(time.Millisecond)
	switch d.GetTier() {
	case leyline.BlueprintTier_BLUEPRINT_TIER_EXPERIMENTAL:
		r.stats.Experimental++
	case leyline.BlueprintTier_BLUEPRINT_TIER_HIGH_RISK:
		r.stats.Adversarial++
	default:
		r.stats.Safe++
	}
	r.add("karn.selection_succeeded", leyline.TelemetryLevel_TELEMETRY_LEVEL_INFO, map[string]string{
		"blueprint_id": d.GetBlueprintId(),
		"tier":         d.GetTier().String(),
		"latency_ms":   fmt.Sprintf("%.3f", r.stats.LatencyMs),
		"conservative": strconv.FormatBool(conservative),
	})
}

func (r *record) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, ErrDenied) {
		r.stats.Denied++
		r.warn("karn.breaker_denied", "reason", "circuit_open")
		return
	}
	r.stats.Failed++
	r.warn("karn.selection_failed", "error", failureClass(err))
}

// opened is called once for each time the circuit opens, not for each look at
// an open circuit.
func (r *record) opened(failures int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Opened++
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

// Stats are the selections so far.
func (c *Catalog) Stats() Stats {
	// Asked before locking: a state change calls back into the record.
	state := leyline.CircuitState(c.circuit.State())
	c.record.mu.Lock()
	defer c.record.mu.Unlock()
	stats := c.record.stats
	stats.Circuit = state
	return stats
}
