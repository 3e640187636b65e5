// Package sdnotify tells systemd of a service's states, and feeds its watchdog. Without
// systemd it does nothing.
package sdnotify

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/esper-lite/weatherlight/supervise"
)

// States of a service.
const (
	Ready    = daemon.SdNotifyReady
	Stopping = daemon.SdNotifyStopping
)

// Notify tells the service manager of a state. It reports whether there is one.
func Notify(state string) (heard bool, err error) {
	heard, err = daemon.SdNotify(false, state)
	if err != nil {
		return false, fmt.Errorf("notify service manager: %w", err)
	}
	return heard, nil
}

// Watchdog feeds the service manager's watchdog for as long as alive holds; it is nil
// when none waits to be fed.
func Watchdog(alive func(context.Context) bool, logger *slog.Logger) *supervise.Watchdog {
	bound, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		logger.Warn("the service manager's watchdog is not fed", "error", err)
	}
	if bound <= 0 {
		return nil
	}
	return &supervise.Watchdog{Interval: bound / 2, Alive: alive, Feed: func() error {
		_, err := Notify(daemon.SdNotifyWatchdog)
		return err
	}}
}
