package supervise

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// own runs the worker until it settles. It alone moves the worker.
func (w *worker) own() {
	defer w.hurry(ErrStopped) // frees the contexts
	defer w.timer.Stop()
	for w.turn() {
	}
}

// turn runs the worker once, and reports whether to do so again, after the delay that its failure earned.
func (w *worker) turn() bool {
	if w.fetch.Err() != nil {
		return w.settleStopped(nil)
	}
	r := newRun(w.fetch, w.work, w.spec.AwaitReady)
	w.history = w.history.Probe()
	w.move(Starting, nil, 0)
	returned, err := w.attend(r)
	r.end() // now: the delay that follows may be long
	switch {
	case !returned:
		return w.abandon()
	case w.fetch.Err() != nil:
		return w.settleStopped(w.afterStop(err))
	}
	return w.judge(err)
}

// call is one call of Run, on a goroutine of its own because it may never return.
func (w *worker) call(r *run) {
	guard(func() error { return w.spec.Worker.Run(&r.fetch) }, func(err error) { w.done <- err })
}

// attend has Run called, and waits for its end or for a stop, which it carries out. It reports whether Run returned.
func (w *worker) attend(r *run) (returned bool, err error) {
	var ready <-chan struct{}
	var healthy <-chan time.Time
	if w.spec.AwaitReady {
		ready = r.ready
	} else {
		healthy = w.becomeReady()
	}
	go w.call(r)
	for {
		select {
		case <-ready:
			ready, healthy = nil, w.becomeReady()
		case <-healthy:
			w.history = w.history.Recover()
			w.move(Running, nil, 0)
		case err := <-w.done:
			w.seeReady(ready)
			return true, err
		case <-w.fetch.Done():
			w.seeReady(ready)
			return w.wind()
		case <-w.probe:
		}
	}
}

// becomeReady returns the channel that says when the run has lasted long enough to forgive earlier failures; nil when
// there are none.
func (w *worker) becomeReady() <-chan time.Time {
	w.move(Running, nil, 0)
	w.markStarted()
	if w.history.Streak == 0 {
		return nil
	}
	w.timer.Reset(w.policy.ResetAfter)
	return w.timer.C
}

// seeReady keeps a worker that was ready and ended in one instant from looking as if it had never been.
func (w *worker) seeReady(ready <-chan struct{}) {
	select {
	case <-ready:
		w.becomeReady()
	default:
	}
}

func (w *worker) markStarted() {
	select {
	case <-w.started:
	default:
		close(w.started)
	}
}

// wind stops a run: work in hand may finish, then it is cancelled, then it is given up.
func (w *worker) wind() (returned bool, err error) {
	w.move(Stopping, nil, 0)
	if returned, err := w.wait(w.supervisor.config.SoftStop, w.work.Done()); returned {
		return true, err
	}
	w.endWork(ErrStopped)
	if returned, err := w.wait(w.supervisor.config.HardStop, w.urgent.Done()); returned || w.urgent.Err() == nil {
		return returned, err
	}
	return w.wait(min(interruptGrace, w.supervisor.config.HardStop), nil)
}

// wait waits for the end of a run, at most limit, and no longer than until cut.
func (w *worker) wait(limit time.Duration, cut <-chan struct{}) (returned bool, err error) {
	w.timer.Reset(limit)
	for {
		select {
		case err := <-w.done:
			return true, err
		case <-w.timer.C:
			return false, nil
		case <-cut:
			return false, nil
		case <-w.probe:
		}
	}
}

// judge does what the policy decides about a run that returned unasked.
func (w *worker) judge(err error) bool {
	now := time.Now()
	outcome := Outcome{Err: err, Finite: w.spec.Finite, Healthy: w.uptime(now)}
	history, decision := w.policy.Next(w.history, outcome, now, w.rng)
	w.history = history
	switch decision.Verdict {
	case Restart:
		return w.backOff(decision)
	case Finish:
		w.move(Finished, nil, 0)
		w.markStarted()
	default:
		w.move(Failed, decision.Err, 0)
		w.reportFatal(decision.Err)
	}
	close(w.settled)
	return false
}

// backOff waits out the delay; a stop cuts it short.
func (w *worker) backOff(d Decision) bool {
	state := BackingOff
	if w.history.Circuit == Open {
		state = Degraded
	}
	w.move(state, d.Err, d.Delay)
	w.timer.Reset(d.Delay)
	for {
		select {
		case <-w.timer.C:
			return true
		case <-w.fetch.Done():
			return w.settleStopped(nil)
		case <-w.probe:
		}
	}
}

// settleStopped ends the life of a worker that was asked to stop, from whatever it was doing.
func (w *worker) settleStopped(err error) bool {
	if s := w.state(); s != Created && s != Stopping {
		w.move(Stopping, nil, 0)
	}
	w.move(Stopped, err, 0)
	close(w.settled)
	return false
}

// abandon gives up a run that ignores its contexts. The owner stays behind to tell should it come back.
func (w *worker) abandon() bool {
	w.move(Abandoned, ErrAbandoned, 0)
	close(w.settled)
	w.move(Stopped, w.afterStop(<-w.done), 0)
	return false
}

// afterStop is what an error means once the worker was asked to stop: a context error is the expected answer.
func (w *worker) afterStop(err error) error {
	w.reportFatal(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrStopped) {
		return nil
	}
	return err
}

func (w *worker) reportFatal(err error) {
	if !IsFatal(err) {
		return
	}
	select {
	case w.supervisor.fatal <- fmt.Errorf("worker %q: %w", w.spec.Name, err):
	default: // the first one stops the process, the rest are in the status table
	}
}

// move makes a move and tells it.
func (w *worker) move(to State, err error, delay time.Duration) {
	e := w.record(to, change{err: err, delay: delay, history: w.history})
	if thrown, ok := errors.AsType[*PanicError](err); ok {
		e.Stack = thrown.Stack
	}
	w.supervisor.events.publish(e)
}
