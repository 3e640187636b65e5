//go:build !linux

package weatherlight

import (
	"context"
	"time"
)

// waker lets one goroutine sleep and wake, by the runtime's timers.
type waker struct{}

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
