package nissa

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/esper-lite/weatherlight/supervise"
)

// notify tells systemd about a change of state. Without systemd it does nothing.
func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}

// watchdog is nothing when no service manager waits for it.
func (s *Service) watchdog() []supervise.Spec {
	bound, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.config.Logger.Warn("the service manager's watchdog is not fed", "error", err)
	}
	if bound <= 0 {
		return nil
	}
	feed := func() error { return notify(daemon.SdNotifyWatchdog) }
	return []supervise.Spec{{Name: "watchdog", Worker: &supervise.Watchdog{
		Interval: bound / 2, Alive: s.supervisor.Alive, Feed: feed,
	}}}
}
