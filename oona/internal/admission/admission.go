package oona

import (
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

const (
	breakerFailures = 3                      // consecutive failed publishes that open the breaker
	breakerOpenFor  = 500 * time.Millisecond // then one probe decides: a bus that is back is used again soon
)

// guard decides whether a publish may be tried, and keeps the conservative
// mode that follows from it.
type guard struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	budget  *EmergencyBudget // nil = unlimited
	caution *caution
	log     *slog.Logger
}

func newGuard(cfg Config, log *slog.Logger) *guard {
	g := &guard{log: log, caution: newCaution(), budget: cfg.EmergencyBudget}
	if g.budget == nil {
		g.budget = NewEmergencyBudget(cfg.EmergencyPerMinute)
	}
	g.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          "oona publish",
		MaxRequests:   1,
		Interval:      0, // a window would forget sparse failures
		Timeout:       breakerOpenFor,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) { g.breakerChanged(to) },
		IsExcluded:    saysNothingOfTheBus,
	})
	return g
}

// saysNothingOfTheBus reports whether a failure leaves open how the bus is: the
// caller left, or all that failed is broken streams.
func saysNothingOfTheBus(err error) bool {
	if isCallersOwn(err) {
		return true
	}
	failed, joined := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	return joined && !slices.ContainsFunc(failed.Unwrap(), func(one error) bool { return !redis.IsStreamFault(one) })
}

// breakerCause names the breaker among the causes of conservative mode.
const breakerCause = "breaker"

// breakerChanged tells the two ends of an episode, and not its probes.
func (g *guard) breakerChanged(to gobreaker.State) {
	switch to {
	case gobreaker.StateOpen:
		if g.caution.enter(breakerCause) {
			g.log.Warn("publish breaker is open: the bus fails")
		}
	case gobreaker.StateClosed:
		g.caution.leave(breakerCause, time.Now())
		g.log.Info("publish breaker is closed again")
	}
}

func (g *guard) isOpen() bool { return g.breaker.State() == gobreaker.StateOpen }

func (g *guard) conservative() bool { return g.caution.on(time.Now()) }
