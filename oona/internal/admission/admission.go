// Package admission decides whether a message may be sent now. An Admission asks
// how far the slowest live group of a stream is behind, keeps the budget of the
// emergency stream and the breaker of publishing, knows what the bound of a stream
// removed unread, and says when the client is in conservative mode. The client of
// oona asks it before each publish; delivery tells it what was lost.
package admission

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

const (
	breakerFailures = 3                      // consecutive failed publishes that open the breaker
	breakerOpenFor  = 500 * time.Millisecond // then one probe decides: a bus that is back is used again soon
)

var (
	// ErrOverloaded: the stream has no room for a message of this priority.
	ErrOverloaded = errors.New("stream overloaded")
	// ErrRateLimited: the emergency budget is spent.
	ErrRateLimited = errors.New("emergency rate limit reached")
)

// Config is what admission goes by.
type Config struct {
	Conn      *redis.Conn
	MaxLength int64 // of every stream, in entries
	// Strain is the backlog that counts as a full stream for conservative mode
	// [MaxLength].
	Strain             int64
	EmergencyPerMinute int // messages; 0 = unlimited
	Logger             *slog.Logger
}

// Admission is that of one client. It is safe for concurrent use.
type Admission struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	budget  *budget // nil = unlimited
	mode    *conservative
	load    *sampler
	log     *slog.Logger
}

// New admits everything that there is room for.
func New(cfg Config) *Admission {
	a := &Admission{log: cfg.Logger, mode: newConservative(), budget: newBudget(cfg.EmergencyPerMinute)}
	a.breaker = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:          "oona publish",
		MaxRequests:   1,
		Interval:      0, // a window would forget sparse failures
		Timeout:       breakerOpenFor,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) { a.breakerChanged(to) },
		IsExcluded:    saysNothingOfTheBus,
	})
	a.load = newSampler(cfg, a.mode, func() bool { return a.breaker.State() == gobreaker.StateOpen })
	return a
}

// Admit reports ErrOverloaded when the stream has no room for a message of this
// priority.
func (a *Admission) Admit(ctx context.Context, stream string, p leyline.MessagePriority) error {
	if !a.load.admit(ctx, stream, p) {
		return ErrOverloaded
	}
	return nil
}

// AdmitEmergency reports ErrRateLimited when the budget has nothing left: for
// signals a part of it is reserved.
func (a *Admission) AdmitEmergency(signal bool) error {
	if !a.budget.allow(signal) {
		return ErrRateLimited
	}
	return nil
}

// errCaller marks a failure that says nothing about the bus: the caller left.
var errCaller = errors.New("caller gave up")

// Guard publishes through the breaker: while it is open, nothing is tried, and the
// error is ErrUnavailable. publish returns what failed, which says nothing about
// the bus once the caller's context has ended.
func (a *Admission) Guard(caller context.Context, publish func() []error) error {
	_, err := a.breaker.Execute(func() (struct{}, error) {
		failed := publish()
		if len(failed) > 0 && caller.Err() != nil {
			return struct{}{}, fmt.Errorf("%w: %w", errCaller, failed[0])
		}
		return struct{}{}, errors.Join(failed...)
	})
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return fmt.Errorf("%w: %w", redis.ErrUnavailable, err)
	}
	return nil
}

// Backlog measures how far the slowest live group of a stream is behind, in entries, and
// which that is.
func (a *Admission) Backlog(ctx context.Context, stream string) (backlog int64, slowest string) {
	return a.load.measure(ctx, stream)
}

// Lost counts entries that a group had begun, and that were removed before it could
// finish them.
func (a *Admission) Lost(ctx context.Context, stream, group string, entries int) error {
	return a.load.losses.add(ctx, a.load.conn, groupKey{stream, group}, entries)
}

// Breaker is the state of the breaker and its consecutive failures.
func (a *Admission) Breaker() (leyline.CircuitBreakerState, int) {
	return leyline.CircuitState(a.breaker.State()), int(a.breaker.Counts().ConsecutiveFailures)
}

// Conservative reports whether publishing is cut off or a stream nearly full, or
// was so just now.
func (a *Admission) Conservative() bool { return a.mode.on(time.Now()) }

// Budget is what may go to the emergency stream now.
func (a *Admission) Budget() Budget { return a.budget.left() }

// saysNothingOfTheBus reports whether a failure leaves open how the bus is: the
// caller left, or all that failed is broken streams.
func saysNothingOfTheBus(err error) bool {
	if errors.Is(err, errCaller) {
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
func (a *Admission) breakerChanged(to gobreaker.State) {
	switch to {
	case gobreaker.StateOpen:
		if a.mode.enter(breakerCause) {
			a.log.Warn("publish breaker is open: the bus fails")
		}
	case gobreaker.StateClosed:
		a.mode.leave(breakerCause, time.Now())
		a.log.Info("publish breaker is closed again")
	}
}

// budget limits what may go to the emergency stream. A quarter of it is reserved
// for emergency signals: telemetry of high priority cannot use that up.
type budget struct {
	shared, reserved *rate.Limiter
	perMinute        int
}

// newBudget allows perMinute messages a minute, and as many at once;
// with 0 or less it is unlimited, which nil is too.
func newBudget(perMinute int) *budget {
	if perMinute <= 0 {
		return nil
	}
	reserved := perMinute / 4
	if reserved == 0 && perMinute > 1 {
		reserved = 1
	}
	return &budget{shared: minuteLimiter(perMinute - reserved), reserved: minuteLimiter(reserved),
		perMinute: perMinute}
}

func minuteLimiter(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(float64(n)/60), n) }

// allow takes one token: a signal from the shared part while it lasts, then
// from its own.
func (b *budget) allow(signal bool) bool {
	return b == nil || b.shared.Allow() || signal && b.reserved.Allow()
}

// Budget is what is left of a budget.
type Budget struct {
	Tokens    float64 // messages that may be sent at once
	PerMinute int     // that there are again each minute; 0 = unlimited
}

func (b *budget) left() Budget {
	if b == nil {
		return Budget{}
	}
	return Budget{Tokens: max(0, b.shared.Tokens()) + max(0, b.reserved.Tokens()), PerMinute: b.perMinute}
}
