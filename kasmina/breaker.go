package kasmina

import (
	"time"

	"github.com/esper-lite/weatherlight/leyline"
)

// Limits of the kernel breaker.
const (
	breakerThreshold = 3
	breakerCooldown  = time.Minute
	breakerSuccesses = 2
)

// States of the breaker by short names.
const (
	circuitClosed   = leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED
	circuitOpen     = leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	circuitHalfOpen = leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN
)

// breaker keeps germinations away from a kernel library that does not answer.
// It is our own because a command can force its state. Half open it lets one
// probe through, and one failure opens it again. Its zero value is closed.
type breaker struct {
	State     leyline.CircuitBreakerState `json:"s,omitempty"` // UNKNOWN is CLOSED
	Failures  int                         `json:"f,omitempty"`
	Successes int                         `json:"g,omitempty"`
	Probing   bool                        `json:"p,omitempty"`
	Until     millis                      `json:"u,omitempty"`
}

func (b *breaker) state() leyline.CircuitBreakerState {
	if b.State == leyline.CircuitBreakerState_CIRCUIT_STATE_UNKNOWN {
		return circuitClosed
	}
	return b.State
}

// allow reports whether a fetch may start now.
func (b *breaker) allow(now millis) bool {
	if b.State == circuitOpen && now >= b.Until {
		b.State, b.Successes, b.Probing = circuitHalfOpen, 0, false
	}
	switch b.State {
	case circuitOpen:
		return false
	case circuitHalfOpen:
		if b.Probing {
			return false
		}
		b.Probing = true
	}
	return true
}

func (b *breaker) fail(now millis) {
	b.Failures++
	b.Probing = false
	if b.state() != circuitClosed || b.Failures >= breakerThreshold {
		b.State, b.Until = circuitOpen, now.plus(breakerCooldown)
	}
}

func (b *breaker) succeed() {
	b.Probing = false
	switch b.state() {
	case circuitClosed:
		b.Failures = 0
	case circuitHalfOpen:
		if b.Successes++; b.Successes >= breakerSuccesses {
			*b = breaker{}
		}
	}
}

// abandon ends a fetch that told nothing about the library.
func (b *breaker) abandon() { b.Probing = false }

// force sets the state on command; it reports false for a state that is none.
func (b *breaker) force(state leyline.CircuitBreakerState, now millis) bool {
	switch state {
	case circuitClosed:
		*b = breaker{}
	case circuitOpen:
		*b = breaker{State: circuitOpen, Failures: breakerThreshold, Until: now.plus(breakerCooldown)}
	case circuitHalfOpen:
		*b = breaker{State: circuitHalfOpen}
	default:
		return false
	}
	return true
}
