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
	"time"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
	"github.com/esper-lite/weatherlight/weatherlight/internal/fleet"
)

func (s *Service) instance() string { return s.settings.Weatherlight.Instance }

// joinFleet takes this instance's place among the others. Its name must be its
// own: two consumers of one name would take each other's messages.
func (s *Service) joinFleet(ctx context.Context) error {
	owner, err := datadir.Name(s.settings.Weatherlight.DataDir)
	if err != nil {
		return err
	}
	s.fleet = fleet.New(fleet.Config{
		Name: s.instance(), Library: s.libraryID(), Departed: s.inheritFrom, Clock: s.rhythm(), Logger: s.logger,
		Lease: s.bus.NewLease(oona.LeaseConfig{Name: s.instance(), Owner: owner, TTL: fleet.TTL}),
	})
	err = s.fleet.Join(ctx)
	if errors.Is(err, oona.ErrNameTaken) {
		return fmt.Errorf("instance name %q is in use on this bus: set WEATHERLIGHT_INSTANCE: %w", s.instance(), err)
	}
	if err != nil {
		return fmt.Errorf("join the other instances: %w", err)
	}
	return s.supervisor.Start(ctx, supervise.Spec{Name: workerFleet, Worker: s.fleet})
}

// inheritFrom takes over what an instance had in hand that has died. What it touched
// later than it fell silent is still its own.
func (s *Service) inheritFrom(instance string, silent time.Duration) {
	other := s.settings.Weatherlight
	other.Instance = instance
	s.bus.Inherit(other.Consumer(), silent)
}

// leaveFleet gives this instance's place up.
func (s *Service) leaveFleet(ctx context.Context) error {
	return errors.Join(s.supervisor.StopWorker(ctx, workerFleet), s.fleet.Leave(ctx))
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
