package oona

import (
	"log/slog"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	breakerFailures = 3                // consecutive failed publishes that open the breaker
	breakerOpenFor  = 30 * time.Second // then one probe decides
	calmFor         = 10 * time.Second // quiet time before conservative mode ends
)

// guard decides whether a publish may be tried, and keeps the conservative
// mode that follows from it.
type guard struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	bucket  *rate.Limiter // nil = unlimited
	perMin  int
	log     *slog.Logger

	mu         sync.Mutex
	cautious   bool
	calmSince  time.Time // zero while the cause lasts
	overloaded bool
}

func newGuard(cfg Config, log *slog.Logger) *guard {
	g := &guard{log: log, perMin: cfg.EmergencyPerMinute}
	if g.perMin > 0 {
		g.bucket = rate.NewLimiter(rate.Limit(float64(g.perMin)/60), g.perMin)
	}
	g.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          "oona publish",
		MaxRequests:   1,
		Interval:      0, // a window would forget sparse failures
		Timeout:       breakerOpenFor,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) { g.breakerChanged(to) },
		IsExcluded:    func(err error) bool { return isCallersOwn(err) },
	})
	return g
}

func (g *guard) allowEmergency() bool { return g.bucket == nil || g.bucket.Allow() }

func (g *guard) breakerChanged(to gobreaker.State) {
	g.log.Warn("publish breaker changed", "state", to.String())
	g.mu.Lock()
	defer g.mu.Unlock()
	if to == gobreaker.StateOpen {
		g.cautious, g.calmSince = true, time.Time{}
	}
	if to == gobreaker.StateClosed {
		g.calmSince = time.Now()
	}
}

// conservative reports the mode: on while the breaker is open, off once it has
// been closed for a while. It changes nothing about where messages go.
func (g *guard) conservative() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cautious && !g.calmSince.IsZero() && time.Since(g.calmSince) >= calmFor {
		g.cautious = false
	}
	return g.cautious
}

func breakerState(s gobreaker.State) leyline.CircuitBreakerState {
	switch s {
	case gobreaker.StateOpen:
		return leyline.CircuitBreakerState_CIRCUIT_STATE_OPEN
	case gobreaker.StateHalfOpen:
		return leyline.CircuitBreakerState_CIRCUIT_STATE_HALF_OPEN
	default:
		return leyline.CircuitBreakerState_CIRCUIT_STATE_CLOSED
	}
}
