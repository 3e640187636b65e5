package supervise

import (
	"context"
	"time"
)

// Watchdog is a worker that tells somebody outside, once an interval, that a supervisor lives. A supervisor that hangs
// falls silent, so that whoever listens can start the process anew; a worker that hangs does not.
type Watchdog struct {
	Interval time.Duration                  // half of what the listener bears
	Alive    func(ctx context.Context) bool // see Supervisor.Alive
	Feed     func() error                   // tells the listener; an error is a failure of this worker
}

// Run feeds until ctx is done.
func (w *Watchdog) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.Interval)
	defer ticker.Stop()
	for {
		if err := w.feed(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (w *Watchdog) feed(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, w.Interval)
	defer cancel()
	if !w.Alive(bounded) {
		return nil // silence is the message
	}
	return w.Feed()
}
