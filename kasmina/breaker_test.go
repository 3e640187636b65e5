package kasmina

import (
	"testing"
)

func openedBreaker() breaker {
	var b breaker
	for range breakerThreshold {
		b.fail(momentOf(noon))
	}
	return b
}

func TestBreakerCountsOnlyFailuresInARow(t *testing.T) {
	t.Parallel()
	var b breaker
	now := momentOf(noon)
	for range 3 {
		b.fail(now)
		b.fail(now)
		b.succeed()
	}
	if !b.allow(now) {
		t.Fatal("a success between failures was not counted")
	}
}

func TestHalfOpenBreakerLetsAnotherProbeThroughWhenOneIsAbandoned(t *testing.T) {
	t.Parallel()
	b := openedBreaker()
	later := momentOf(noon).plus(breakerCooldown)
	b.allow(later)
	b.abandon()
	if !b.allow(later) {
		t.Error("an abandoned probe blocks for ever")
	}
	b.fail(later)
	if b.allow(later.plus(breakerCooldown) - 1) {
		t.Error("still half open after a failure")
	}
}
