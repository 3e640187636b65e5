package weatherlight

import (
	"fmt"

	"github.com/coreos/go-systemd/v22/daemon"
)

// States that a service manager is told.
const (
	notifyReady    = daemon.SdNotifyReady
	notifyStopping = daemon.SdNotifyStopping
)

// notify tells systemd about a change of state. Without systemd it does
// nothing.
func (s *Service) notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify service manager: %w", err)
	}
	return nil
}
