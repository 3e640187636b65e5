package shmsignal

import (
	"context"
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

const (
	// reportsQueued bounds the triggers that wait for their report; beyond it each
	// monitor merges its own.
	reportsQueued = 8
	// reportRetry is the pause before a report that found no room is tried again.
	reportRetry = 50 * time.Millisecond
)

// poller looks at the segments of all monitors in turn, on one goroutine: what polling
// costs is the waking up, not the looking.
type poller struct{ monitors []*monitor }

func (p *poller) run(ctx context.Context) (err error) {
	waker, err := newWaker()
	if err != nil {
		return err
	}
	p.listen(waker.watcher)
	defer func() { err = errors.Join(err, p.leave(), waker.Close()) }()
	return waker.run(ctx, func() time.Duration {
		p.hear(waker.watcher.events())
		return p.look()
	})
}

// listen has what is attached from now on watched.
func (p *poller) listen(w *watcher) {
	for _, m := range p.monitors {
		m.segment.watcher = w
	}
}

// hear hands the monitors what happened to their files.
func (p *poller) hear(events []event) {
	for _, e := range events {
		for _, m := range p.monitors {
			m.hear(e)
		}
	}
}

// look gives each monitor its turn, and returns the pause until the next one's.
func (p *poller) look() time.Duration {
	now := time.Now()
	next := now.Add(restPause)
	for _, m := range p.monitors {
		if due := m.turn(now); due.Before(next) {
			next = due
		}
	}
	return time.Until(next)
}

func (p *poller) leave() error {
	var failures []error
	for _, m := range p.monitors {
		failures = append(failures, m.leave())
	}
	p.listen(nil)
	return errors.Join(failures...)
}

// reporter hands triggers on beside the poller.
type reporter struct {
	queue   chan func() bool
	pending func() bool // in hand: it survives a restart of the worker
}

func newReporter() reporter { return reporter{queue: make(chan func() bool, reportsQueued)} }

// offering makes a report one that is done here. It returns false when too many
// wait already.
func (r *reporter) offering(report func(Trigger) bool) func(Trigger) bool {
	queue := r.queue
	return func(t Trigger) bool {
		select {
		case queue <- func() bool { return report(t) }:
			return true
		default:
			return false
		}
	}
}

// run reports until ctx is done, and then what is still queued.
func (r *reporter) run(ctx context.Context) error {
	for r.next(ctx) {
		for !r.pending() {
			if !cadence.Sleep(ctx, reportRetry) {
				return nil
			}
		}
		r.pending = nil
	}
	return nil
}

// next takes up the next report; false means that there is nothing more to do.
func (r *reporter) next(ctx context.Context) bool {
	if r.pending != nil {
		return true
	}
	select {
	case r.pending = <-r.queue:
		return true
	default:
	}
	select {
	case r.pending = <-r.queue:
		return true
	case <-ctx.Done():
		return false
	}
}
