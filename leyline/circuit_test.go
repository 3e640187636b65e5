package leyline_test

import (
	"testing"

	"github.com/sony/gobreaker/v2"

	"github.com/esper-lite/weatherlight/leyline"
)

func TestCircuitStateIsThatOfTheBreaker(t *testing.T) {
	tests := map[gobreaker.State]leyline.CircuitBreakerState{
		gobreaker.StateClosed:   leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED,
		gobreaker.StateOpen:     leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN,
		gobreaker.StateHalfOpen: leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN,
		gobreaker.State(99):     leyline.CircuitBreakerState_CIRCUIT_STATE_UNKNOWN,
	}
	for state, want := range tests {
		if got := leyline.CircuitState(state); got != want {
			t.Errorf("%s is %s, want %s", state, got, want)
		}
	}
}
