//go:build !linux

package shmsignal

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

// waker lets one goroutine sleep and wake, by the runtime's timers.
type waker struct{ watcher *watcher }

func newWaker() (*waker, error) { return &waker{}, nil }

// Close has nothing to free.
func (w *waker) Close() error { return nil }

// run calls step, sleeps for the pause that it returned, and so on until ctx is
// done.
func (w *waker) run(ctx context.Context, step func() time.Duration) error {
	for cadence.Sleep(ctx, step()) {
	}
	return nil
}

// watcher reports nothing here: segments are polled.
type watcher struct{}

func (*watcher) watch(int) int   { return 0 }
func (*watcher) unwatch(int)     {}
func (*watcher) events() []event { return nil }

// onlyOurs and lockedByOther are asked of files that a watcher watches.
func onlyOurs(int) (bool, error)                        { return false, nil }
func lockedByOther(int) (locked, known bool, err error) { return false, false, nil }
