package weatherlight

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/esper-lite/weatherlight/supervise"
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

// newWatchdog is nil when no service manager waits for it.
func (s *Service) newWatchdog() *supervise.Watchdog {
	bound, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.logger.Warn("the service manager's watchdog is not fed", "error", err)
	}
	if bound <= 0 {
		return nil
	}
	return &supervise.Watchdog{
		Interval: bound / 2, Alive: s.alive, Feed: func() error { return s.notify(notifyWatchdog) },
	}
}
