package weatherlight

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-lite/weatherlight/oona/lease"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
)

func (s *Service) instance() string { return s.settings.Weatherlight.Instance }

// joinFleet takes this instance's place among the others. Its name must be its
// own: two consumers of one name would take each other's messages.
func (s *Service) joinFleet(ctx context.Context) error {
	owner, err := datadir.Name(s.settings.Weatherlight.DataDir)
	if err != nil {
		return err
	}
	held := s.bus.NewLease(lease.Config{Name: s.instance(), Owner: owner, TTL: leaseTTL})
	s.fleet = newFleet(s.instance(), held, s.libraryID(), s.logger)
	s.fleet.departed, s.fleet.rhythm = s.inheritFrom, s.rhythm()
	err = s.fleet.join(ctx)
	if errors.Is(err, lease.ErrNameTaken) {
		return fmt.Errorf("instance name %q is in use on this bus: set WEATHERLIGHT_INSTANCE: %w", s.instance(), err)
	}
	if err != nil {
		return fmt.Errorf("join the other instances: %w", err)
	}
	return s.supervisor.Start(ctx, supervise.Spec{Name: workerFleet, Worker: s.fleet})
}

// inheritFrom takes over what an instance had in hand whose lease has ended. It
// was last alive a beat before its lease began to run out, so what it touched
// later than that is still its own.
func (s *Service) inheritFrom(instance string) {
	other := s.settings.Weatherlight
	other.Instance = instance
	s.bus.TakeOver(other.Consumer(), leaseTTL-leadBeat)
}

// leaveFleet gives this instance's place up.
func (s *Service) leaveFleet(ctx context.Context) error {
	return errors.Join(s.supervisor.StopWorker(ctx, workerFleet), s.fleet.leave(ctx))
}

// libraryID names the kernel library: instances of one database share it, and a
// file is that of one machine.
func (s *Service) libraryID() string {
	address := s.settings.Urza.DatabaseURL.String()
	if path, isFile := strings.CutPrefix(address, "sqlite:///"); isFile {
		host, _ := os.Hostname() // A machine without a name is one as well.
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		address = host + ":" + path
	}
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:8])
}
