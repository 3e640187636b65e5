package supervise

import (
	"cmp"
	"math/rand/v2"
	"time"
)

// Policy decides whether and when a worker that returned is started again. It is a pure value: [Policy.Next] neither
// waits nor remembers. A zero or negative field means its default.
type Policy struct {
	Base         time.Duration // delay after the first failure, doubled by each further one. Default: 1 s
	Cap          time.Duration // the longest delay. Default: 30 s
	ResetAfter   time.Duration // a run that was ready this long forgives all failures before it. Default: 60 s
	Budget       int           // failures within BudgetWindow still borne; one more opens the circuit. Default: 10
	BudgetWindow time.Duration // Default: 5 min
}

// History is what a policy remembers of a worker. The zero value is a worker that never failed.
type History struct {
	Streak   int         // failures since the worker was last healthy for ResetAfter
	Failures []time.Time // those within the budget window, oldest first
	Circuit  Circuit
}

// Outcome is how a run of a worker ended that was not asked to stop.
type Outcome struct {
	Err     error         // what Run returned; a *PanicError when it panicked
	Finite  bool          // the worker may return nil
	Healthy time.Duration // how long the run was ready
}

// Verdict says what becomes of a worker that returned.
type Verdict int

const (
	Restart     Verdict = iota // start it again after Decision.Delay
	Finish                     // it has done what it was for
	LeaveDown                  // another attempt cannot help
	StopProcess                // the process cannot live without it
)

// Decision is what [Policy.Next] decided.
type Decision struct {
	Verdict Verdict
	Delay   time.Duration // before the next start; 0 unless the verdict is Restart
	Err     error         // the failure, nil when the verdict is Finish
}

// Next decides what follows an outcome, and returns the history to give to the next call; h itself is not changed.
//
// The delay d doubles with each failure from Base to Cap, and the drawn delay lies in [d/2, d], so that workers felled
// by one cause do not come back in step. More than Budget failures within BudgetWindow open the circuit: from then on
// every delay is drawn from Cap, until a run lasts ResetAfter. A nil rng draws no jitter.
func (p Policy) Next(h History, o Outcome, now time.Time, rng *rand.Rand) (History, Decision) {
	p = p.withDefaults()
	if o.Err == nil && o.Finite {
		return h, Decision{Verdict: Finish}
	}
	err := cmp.Or(o.Err, ErrReturned)
	if o.Healthy >= p.ResetAfter {
		h = h.Recover()
	}
	h = p.count(h, now)
	switch {
	case IsFatal(err):
		return h, Decision{Verdict: StopProcess, Err: err}
	case IsPermanent(err):
		return h, Decision{Verdict: LeaveDown, Err: err}
	}
	return h, Decision{Verdict: Restart, Delay: halfJitter(p.delay(h), rng), Err: err}
}

// Recover is the history of a worker that has been healthy for ResetAfter. A circuit that closes forgets the failures
// that opened it; else the first stumble after a recovery would open it again.
func (h History) Recover() History {
	if h.Circuit == Closed {
		return History{Failures: h.Failures}
	}
	return History{}
}

// Probe is the history of a worker at its next start: behind an open circuit that start is a probe.
func (h History) Probe() History {
	if h.Circuit == Open {
		h.Circuit = HalfOpen
	}
	return h
}

// count adds a failure at now, and drops those that left the window.
func (p Policy) count(h History, now time.Time) History {
	kept := make([]time.Time, 0, len(h.Failures)+1)
	for _, at := range h.Failures {
		if now.Sub(at) < p.BudgetWindow {
			kept = append(kept, at)
		}
	}
	kept = append(kept, now)
	// More than Budget+1 say nothing new; without this a worker with a tiny Cap would grow its history.
	kept = kept[max(0, len(kept)-p.Budget-1):]
	next := History{Streak: h.Streak + 1, Failures: kept, Circuit: Closed}
	if len(kept) > p.Budget || h.Circuit != Closed {
		next.Circuit = Open
	}
	return next
}

// delay is the upper end of the delay that follows h.
func (p Policy) delay(h History) time.Duration {
	if h.Circuit == Open {
		return p.Cap
	}
	d := p.Base
	for i := 1; i < h.Streak && d < p.Cap; i++ {
		if d > p.Cap/2 { // doubling could overflow
			return p.Cap
		}
		d *= 2
	}
	return min(d, p.Cap)
}

func (p Policy) withDefaults() Policy {
	return Policy{
		Base:         positive(p.Base, time.Second),
		Cap:          positive(p.Cap, 30*time.Second),
		ResetAfter:   positive(p.ResetAfter, time.Minute),
		Budget:       positive(p.Budget, 10),
		BudgetWindow: positive(p.BudgetWindow, 5*time.Minute),
	}
}

// halfJitter draws from [d/2, d]: spread enough to part a herd, and never so short that it is no delay at all.
func halfJitter(d time.Duration, rng *rand.Rand) time.Duration {
	if rng == nil {
		return d
	}
	return d - time.Duration(rng.Int64N(int64(d/2)+1))
}

func positive[T int | time.Duration](value, fallback T) T {
	if value > 0 {
		return value
	}
	return fallback
}
