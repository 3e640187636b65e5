//go:build !linux

package weatherlight

import (
	"context"
	"time"
)

// waker lets one goroutine sleep and wake, by the runtime's timers.
type waker struct{ bell *bell }

func newWaker() (*waker, error) { return &waker{}, nil }

// Close has nothing to free.
func (w *waker) Close() error { return nil }

// run calls step, sleeps for the pause that it returned, and so on until ctx is
// done.
func (w *waker) run(ctx context.Context, step func() time.Duration) error {
	for sleep(ctx, step()) {
	}
	return nil
}

// bell tells nothing here: segments are polled.
type bell struct{}

func (*bell) watch(int) int    { return 0 }
func (*bell) unwatch(int)      {}
func (*bell) touches() []touch { return nil }

// onlyOurs and promisedByOther are asked of files that a bell watches.
func onlyOurs(int) (bool, error)                            { return false, nil }
func promisedByOther(int) (promised, known bool, err error) { return false, false, nil }
