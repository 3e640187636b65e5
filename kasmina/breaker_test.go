package kasmina

import (
	"testing"

	"github.com/esper-lite/weatherlight/leyline"
)

func openedBreaker() breaker {
	b := newBreaker()
	for range breakerThreshold {
		b.fail(noon)
	}
	return b
}

func TestBreakerOpensAfterThreeFailures(t *testing.T) {
	t.Parallel()
	b := newBreaker()
	b.fail(noon)
	b.fail(noon)
	b.succeed()
	b.fail(noon)
	b.fail(noon)
	if !b.allow(noon) {
		t.Fatal("a success between failures was not counted")
	}
	b.fail(noon)
	if b.allow(noon) || b.allow(noon.Add(breakerCooldown-1)) {
		t.Error("an open breaker let a fetch through")
	}
}

func TestHalfOpenBreakerLetsOneProbeThrough(t *testing.T) {
	t.Parallel()
	b := openedBreaker()
	later := noon.Add(breakerCooldown)
	if !b.allow(later) || b.allow(later) {
		t.Fatal("not exactly one probe")
	}
	b.abandon()
	if !b.allow(later) {
		t.Error("an abandoned probe blocks for ever")
	}
}

func TestHalfOpenBreakerOpensOnTheFirstFailure(t *testing.T) {
	t.Parallel()
	b := openedBreaker()
	later := noon.Add(breakerCooldown)
	b.allow(later)
	b.fail(later)
	if b.allow(later.Add(breakerCooldown - 1)) {
		t.Error("still half open")
	}
}

func TestBreakerClosesAfterTwoSuccesses(t *testing.T) {
	t.Parallel()
	b := openedBreaker()
	later := noon.Add(breakerCooldown)
	for range breakerSuccesses {
		if !b.allow(later) {
			t.Fatal("no probe")
		}
		b.succeed()
	}
	if b.state != circuitClosed || b.failures != 0 {
		t.Errorf("state %v with %d failures", b.state, b.failures)
	}
}

func TestBreakerIsForced(t *testing.T) {
	t.Parallel()
	b := newBreaker()
	if !b.force(circuitOpen, noon) || b.allow(noon) {
		t.Error("forced open")
	}
	if !b.force(circuitHalfOpen, noon) || !b.allow(noon) || b.allow(noon) {
		t.Error("forced half open")
	}
	if !b.force(circuitClosed, noon) || !b.allow(noon) || !b.allow(noon) {
		t.Error("forced closed")
	}
	if b.force(leyline.CircuitBreakerState_CIRCUIT_STATE_UNKNOWN, noon) {
		t.Error("an unknown state was taken")
	}
}
