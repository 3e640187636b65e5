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
// probe through, and one failure opens it again.
type breaker struct {
	state     leyline.CircuitBreakerState
	failures  int
	successes int
	probing   bool
	until     time.Time
}

func newBreaker() breaker { return breaker{state: circuitClosed} }

// allow reports whether a fetch may start now.
func (b *breaker) allow(now time.Time) bool {
	if b.state == circuitOpen && !now.Before(b.until) {
		b.state, b.successes, b.probing = circuitHalfOpen, 0, false
	}
	switch b.state {
	case circuitOpen:
		return false
	case circuitHalfOpen:
		if b.probing {
			return false
		}
		b.probing = true
	}
	return true
}

func (b *breaker) fail(now time.Time) {
	b.failures++
	b.probing = false
	if b.state != circuitClosed || b.failures >= breakerThreshold {
		b.state, b.until = circuitOpen, now.Add(breakerCooldown)
	}
}

func (b *breaker) succeed() {
	b.probing = false
	switch b.state {
	case circuitClosed:
		b.failures = 0
	case circuitHalfOpen:
		if b.successes++; b.successes >= breakerSuccesses {
			b.state, b.failures = circuitClosed, 0
		}
	}
}

// abandon ends a fetch that told nothing about the library.
func (b *breaker) abandon() { b.probing = false }

// force sets the state on command; it reports false for a state that is none.
func (b *breaker) force(state leyline.CircuitBreakerState, now time.Time) bool {
	switch state {
	case circuitClosed:
		*b = newBreaker()
	case circuitOpen:
		*b = breaker{state: circuitOpen, failures: breakerThreshold, until: now.Add(breakerCooldown)}
	case circuitHalfOpen:
		*b = breaker{state: circuitHalfOpen}
	default:
		return false
	}
	return true
}
