package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// repeatWindow is how soon after a signal the same request may arrive again
// without being a second one: timeout(1), for one, signals the process and then
// its whole group.
const repeatWindow = 300 * time.Millisecond

// actionPatience is how long the end waits for an action under way. One that is
// stuck in a system call, on a file of a server that is gone, hears no context.
const actionPatience = time.Second

// ErrSignal is the cause of a context that ended with a signal.
var ErrSignal = errors.New("signal")

// OutliveSignals keeps a start from being ended by the signals that ask a service to do
// something. Nothing is lost by those that come before OnSignal hears them: the start reads
// everything anew anyway. It is the first that a service does.
func OutliveSignals() { signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1) }

// Action is what a signal other than the stopping ones asks for.
type Action struct {
	Signal os.Signal
	// Do runs once for each arrival, never twice at a time. Its context ends with
	// the process's; arrivals while it runs count as one.
	Do func(context.Context)
}

// OnSignal returns a context that ends with the first SIGINT or SIGTERM, and
// calls interrupt on the second. Actions run beside it, so that a slow one holds
// up no stop. The returned function gives the signals back, and waits a second at
// most for an action under way: the process ends without one that is stuck.
func OnSignal(ctx context.Context, interrupt func(), actions ...Action) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	var stop, acting sync.WaitGroup
	stop.Go(stopping(cancel, interrupt, done))
	for _, action := range actions {
		acting.Go(action.listen(ctx, done))
	}
	return ctx, func() {
		close(done)
		cancel(nil)
		stop.Wait()
		waitFor(&acting, actionPatience)
	}
}

// waitFor waits for a group, but no longer than patience.
func waitFor(group *sync.WaitGroup, patience time.Duration) {
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
	}
}

// stopping takes over the signals at once and returns the loop that acts on
// them.
func stopping(cancel context.CancelCauseFunc, interrupt func(), done <-chan struct{}) func() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	return func() {
		defer signal.Stop(signals)
		var first time.Time
		for {
			select {
			case received := <-signals:
				switch {
				case first.IsZero():
					first = time.Now()
					cancel(fmt.Errorf("%w: %v", ErrSignal, received))
				case time.Since(first) > repeatWindow:
					interrupt()
				}
			case <-done:
				return
			}
		}
	}
}

// listen takes over the action's signal at once and returns the loop that acts
// on it.
func (a Action) listen(ctx context.Context, done <-chan struct{}) func() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, a.Signal)
	return func() {
		defer signal.Stop(signals)
		for {
			select {
			case <-signals:
				a.Do(ctx)
			case <-done:
				return
			}
		}
	}
}
