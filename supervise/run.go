package supervise

import (
	"context"
	"math/rand/v2"
	"time"
)

// worker is one supervised worker. One goroutine, own, decides everything about it; the others see its statusRecord, its
// contexts, which they may end, and its channels.
type worker struct {
	statusRecord
	supervisor *Supervisor
	spec       Spec
	rng        *rand.Rand // of its own, so that the schedule of one worker does not depend on the others

	fetch, work, urgent      context.Context // each derived from the next
	endFetch, endWork, hurry context.CancelCauseFunc

	probe   chan struct{} // a send succeeds while the owner is alive
	started chan struct{} // closed when first ready
	settled chan struct{} // closed when at rest or abandoned

	// Owner only.
	done    chan error  // what a run returned; there is never more than one run
	timer   *time.Timer // for the one thing that the owner waits for: health, the next start, or a stop
	policy  Policy
	history History
}

func newWorker(ctx context.Context, s *Supervisor, spec Spec) *worker {
	w := &worker{
		supervisor: s,
		spec:       spec,
		policy:     spec.Policy.withDefaults(),
		rng:        rand.New(rand.NewPCG(s.config.Rand.Uint64(), s.config.Rand.Uint64())),
		probe:      make(chan struct{}),
		started:    make(chan struct{}),
		settled:    make(chan struct{}),
		done:       make(chan error, 1),
		timer:      time.NewTimer(0),
	}
	w.timer.Stop()
	w.status = Status{Name: spec.Name, Finite: spec.Finite}
	// Workers outlive the call that starts them, and end in the order of a stop, not all at once with their caller.
	w.urgent, w.hurry = context.WithCancelCause(context.WithoutCancel(ctx))
	w.work, w.endWork = context.WithCancelCause(w.urgent)
	w.fetch, w.endFetch = context.WithCancelCause(w.work)
	return w
}

// awaitReady waits until the worker is ready for the first time.
func (w *worker) awaitReady(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-w.started:
		return nil
	case <-w.settled:
		return w.whyDown()
	case <-timer.C:
		return notReady("within "+limit.String(), w.lastError())
	case <-ctx.Done():
		return notReady("in time", context.Cause(ctx), w.lastError())
	}
}

// whyDown is why a worker settled before it was ready; it may also have been ready in the same instant.
func (w *worker) whyDown() error {
	select {
	case <-w.started:
		return nil
	default:
	}
	if w.state() == Failed {
		return w.lastError()
	}
	return ErrStopped
}

// stop asks the worker to stop and waits until it settled; it reports whether it did so by returning. The wait is
// bounded by the owner; the end of ctx cuts it short.
func (w *worker) stop(ctx context.Context) bool {
	w.endFetch(ErrStopped)
	select {
	case <-w.settled:
	case <-ctx.Done():
		w.hurry(ErrStopped)
		<-w.settled
	}
	return w.state() != Abandoned
}
