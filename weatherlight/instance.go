package weatherlight

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/supervise"
)

// ownerFile holds the random name of a data folder: it tells an instance that
// starts again from another one that was given the same name.
const ownerFile = "instance-id"

func (s *Service) instance() string { return s.settings.Weatherlight.Instance }

// joinFleet takes this instance's place among the others. Its name must be its
// own: two consumers of one name would take each other's messages.
func (s *Service) joinFleet(ctx context.Context) error {
	owner, err := folderID(s.settings.Weatherlight.DataDir)
	if err != nil {
		return err
	}
	lease := s.bus.NewLease(oona.LeaseConfig{Name: s.instance(), Owner: owner, TTL: leaseTTL})
	s.fleet = newFleet(s.instance(), lease, s.libraryID(), s.logger)
	s.fleet.departed, s.fleet.rhythm = s.inheritFrom, s.rhythm()
	err = s.fleet.join(ctx)
	if errors.Is(err, oona.ErrNameTaken) {
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
	s.bus.Inherit(other.Consumer(), leaseTTL-leadBeat)
}

// leaveFleet gives this instance's place up.
func (s *Service) leaveFleet(ctx context.Context) error {
	return errors.Join(s.supervisor.StopWorker(ctx, workerFleet), s.fleet.leave(ctx))
}

// folderID reads the name of the data folder, and gives it one the first time.
func folderID(dir string) (string, error) {
	id, err := readFolderID(dir)
	if err != nil || id != "" {
		return id, err
	}
	id = rand.Text()
	if err := os.WriteFile(filepath.Join(dir, ownerFile), []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("name the data folder: %w", err)
	}
	return id, nil
}

// readFolderID is empty for a folder without a name, or with one that was torn.
func readFolderID(dir string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, ownerFile)) //nolint:gosec // in our own folder
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the name of the data folder: %w", err)
	}
	if words := strings.Fields(string(content)); len(words) == 1 {
		return words[0], nil
	}
	return "", nil
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
