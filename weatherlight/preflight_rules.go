package weatherlight

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/oona"
)

const (
	// The oldest Redis that has every command that the bus uses.
	minMajor, minMinor = 6, 2
	// maxSkew is how far the clocks may be apart: requests that are dated further
	// in the future are refused.
	maxSkew = 5 * time.Second
)

// checkVersion refuses a server that is too old. One that does not tell may be
// new enough.
func checkVersion(server oona.Server) error {
	if server.Version == "" {
		return nil
	}
	major, rest, _ := strings.Cut(server.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	high, err := strconv.Atoi(major)
	if err != nil {
		return nil // Not a number: not the scheme that the bound is in.
	}
	low, _ := strconv.Atoi(minor) // none is 0
	if high < minMajor || high == minMajor && low < minMinor {
		return fmt.Errorf("bus: %s %s is too old, want %d.%d or newer", server.Product, server.Version, minMajor, minMinor)
	}
	return nil
}

// checkSkew refuses a bus whose clock is certainly too far from ours.
func checkSkew(server oona.Server) error {
	if server.Skew.Abs()-server.Uncertainty <= maxSkew {
		return nil
	}
	direction := "ahead of"
	if server.Skew < 0 {
		direction = "behind"
	}
	return fmt.Errorf("the clock of the bus is %v %s ours, bound %v: set the clocks",
		server.Skew.Abs().Round(time.Millisecond), direction, maxSkew)
}

// checkClock refuses a clock that was never set.
func checkClock(now time.Time) error {
	if now.Year() < 2025 {
		return fmt.Errorf("the clock says %s: set it", now.UTC().Format(time.RFC3339))
	}
	return nil
}

// tryDataDir asks whether the data folder could be taken. It makes nothing: a
// folder that is not there yet can be taken when it could be made.
func tryDataDir(dir string) error {
	info, err := os.Stat(dir)
	if os.IsNotExist(err) {
		return tryParent(filepath.Dir(filepath.Clean(dir)), dir)
	}
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("data folder %s is not a folder", dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("data folder %s is not writable: %w", dir, err)
	}
	return tryLock(dir)
}

// tryParent looks for the nearest folder above that is there.
func tryParent(parent, dir string) error {
	info, err := os.Stat(parent)
	if os.IsNotExist(err) && filepath.Dir(parent) != parent {
		return tryParent(filepath.Dir(parent), dir)
	}
	if err != nil {
		return fmt.Errorf("data folder %s cannot be made: %w", dir, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("data folder %s cannot be made: %s is not a folder", dir, parent)
	}
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("data folder %s cannot be made: %s is not writable: %w", dir, parent, err)
	}
	return nil
}

// try asks whether the segment could be attached: it may be missing, but what
// lies under its name must be the record and ours to clear.
func (s *segment) try() error {
	if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
		return fmt.Errorf("no shared memory on this machine: %w", err)
	}
	if _, err := s.follow(); err != nil {
		return err
	}
	return s.detach()
}
