package catalogue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

// breakerSuccesses in a row close a half-open breaker.
const breakerSuccesses = 2

var errSlow = errors.New("slow query")

// breaker guards the look-ups. Slowness counts as failure, a row that
// is not there as success, a caller that gave up as nothing.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	slow    time.Duration

	opened, denied, slowQueries atomic.Int64
	conservative                atomic.Bool // from OPEN until CLOSED again
	lastLookup                  atomic.Int64
}

func newBreaker(cfg Config) *breaker {
	b := &breaker{slow: cfg.Slow}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "urza.library",
		MaxRequests: breakerSuccesses,
		Timeout:     cfg.OpenFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= cfg.Failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				b.opened.Add(1)
				b.conservative.Store(true)
			case gobreaker.StateClosed:
				b.conservative.Store(false)
			}
		},
	})
	return b
}

// guard runs one look-up, or refuses it with fault.ErrUnavailable while the breaker is open.
func (b *breaker) guard(lookup func() error) error {
	done, err := b.circuit.Allow()
	if err != nil {
		b.denied.Add(1)
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
	}
	started := time.Now()
	err = lookup()
	took := time.Since(started)
	b.lastLookup.Store(int64(took))
	done(b.outcome(err, took))
	return err
}

func (b *breaker) outcome(err error, took time.Duration) error {
	if took > b.slow {
		b.slowQueries.Add(1)
		if err == nil {
			return errSlow
		}
	}
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	return err
}

// Lookups is what is known of the look-ups.
type Lookups struct {
	Circuit      leyline.CircuitBreakerState
	Conservative bool          // from the opening of the circuit until it is closed again
	Last         time.Duration // that the last one took
	// How many were slow, how often the circuit opened, how many it refused.
	Slow, Opened, Denied int64
}

func (b *breaker) lookups() Lookups {
	return Lookups{
		Circuit:      leyline.CircuitState(b.circuit.State()),
		Conservative: b.conservative.Load(),
		Last:         time.Duration(b.lastLookup.Load()),
		Slow:         b.slowQueries.Load(),
		Opened:       b.opened.Load(),
		Denied:       b.denied.Load(),
	}
}
