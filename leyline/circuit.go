package leyline

import "fmt"

// CircuitState is the enumeration's value for the state of a circuit breaker,
// which calls itself "closed", "open" or "half-open"; any other is unknown.
// Every gauge of a breaker is this number.
func CircuitState(state fmt.Stringer) CircuitBreakerState {
	switch state.String() {
	case "closed":
		return CircuitBreakerState_CIRCUIT_STATE_CLOSED
	case "open":
		return CircuitBreakerState_CIRCUIT_STATE_OPEN
	case "half-open":
		return CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN
	default:
		return CircuitBreakerState_CIRCUIT_STATE_UNKNOWN
	}
}
