package weatherlight

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// States that a service manager is told.
const (
	notifyReady    = daemon.SdNotifyReady
	notifyStopping = daemon.SdNotifyStopping
	notifyWatchdog = daemon.SdNotifyWatchdog
)

// notify tells systemd about a change of state. Without systemd it does
// nothing.
func (s *Service) notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}

// watchdog tells the service manager that the service lives, as long as the
// supervisor does. A supervisor that hangs lets the manager start the process
// anew; a worker that hangs does not.
type watchdog struct {
	interval time.Duration // half of what the manager bears
	alive    func(context.Context) bool
	notify   func(state string) error
}

// newWatchdog is nil when no service manager waits for it.
func (s *Service) newWatchdog() *watchdog {
	bound, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.logger.Warn("the service manager's watchdog is not fed", "error", err)
	}
	if bound <= 0 {
		return nil
	}
	return &watchdog{interval: bound / 2, alive: s.alive, notify: s.notify}
}

// Run feeds until ctx is done.
func (w *watchdog) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.interval)
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

func (w *watchdog) feed(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, w.interval)
	defer cancel()
	if !w.alive(bounded) {
		return nil // Silence is the message.
	}
	return w.notify(notifyWatchdog)
}
