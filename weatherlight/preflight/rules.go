package preflight

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/oona/admin"
	"github.com/esper-lite/weatherlight/weatherlight/internal/datadir"
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
func checkVersion(server admin.Server) error {
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
		return fmt.Errorf("%s %s is too old, want %d.%d or newer", server.Product, server.Version, minMajor, minMinor)
	}
	return nil
}

// checkSkew refuses a bus whose clock is certainly too far from ours.
func checkSkew(server admin.Server) error {
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

// eviction refuses a bus that gives up keys for want of memory. With a bound and such a
// policy it gives up streams that are read yet, records of runs, and what keeps a replay
// from being handled.
func eviction(server admin.Server) error {
	if server.Evicts == "" {
		return nil
	}
	return fmt.Errorf("the bus gives up keys by %s when its memory is full: what was acknowledged would be lost "+
		"and replays let in; set maxmemory-policy to noeviction", server.Evicts)
}

// enoughFiles is how many files a service wants to have open: the connections of its HTTP
// side are bounded by a quarter of them, up to 256.
const enoughFiles = 1024

// OpenFiles asks how many files this process may have open. It only warns: with fewer the
// service takes fewer connections.
func OpenFiles() Check {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return warned("%v", err).of(checkFiles)
	}
	if limit.Cur < enoughFiles {
		return warned("%d files may be open (RLIMIT_NOFILE), %d are wanted: the fewer, the fewer connections are served",
			limit.Cur, enoughFiles).of(checkFiles)
	}
	return passed("%d", limit.Cur).of(checkFiles)
}

const checkFiles = "open files"

// checkSet refuses a clock that was never set.
func checkSet(now time.Time) error {
	if now.Year() < 2025 {
		return fmt.Errorf("the clock says %s: set it", now.UTC().Format(time.RFC3339))
	}
	return nil
}

// tryDataDir asks whether the data folder could be taken.
func tryDataDir(dir string) error {
	if err := tryFolder("data folder", dir); err != nil {
		return err
	}
	return datadir.Try(dir)
}

// tryFolder asks whether a folder could be written to. It makes nothing: a folder
// that is not there yet can be written to when it could be made.
func tryFolder(what, dir string) error {
	info, err := look(dir)
	switch {
	case os.IsNotExist(err):
		return tryParent(what, filepath.Dir(filepath.Clean(dir)), dir)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case !info.IsDir():
		return fmt.Errorf("%s %s is not a folder", what, dir)
	}
	if err := tryWrite(dir); err != nil {
		return fmt.Errorf("%s %s is not writable: %w", what, dir, err)
	}
	return nil
}

// look is os.Stat, but a link to nothing is there: no folder can be made in its place.
func look(path string) (os.FileInfo, error) {
	info, err := os.Stat(path)
	if !os.IsNotExist(err) {
		return info, err
	}
	return os.Lstat(path)
}

// tryParent looks for the nearest folder above that is there.
func tryParent(what, parent, dir string) error {
	info, err := look(parent)
	switch {
	case os.IsNotExist(err) && filepath.Dir(parent) != parent:
		return tryParent(what, filepath.Dir(parent), dir)
	case err != nil:
		return fmt.Errorf("%s %s cannot be made: %w", what, dir, err)
	case !info.IsDir():
		return fmt.Errorf("%s %s cannot be made: %s is not a folder", what, dir, parent)
	}
	if err := tryWrite(parent); err != nil {
		return fmt.Errorf("%s %s cannot be made: %s is not writable: %w", what, dir, parent, err)
	}
	return nil
}

// Magic numbers of the file systems in which the kernel shows itself. They let the
// administrator write to every folder, and then hold no file that he makes.
const (
	magicProc  = 0x9fa0
	magicSysfs = 0x62656572
)

var errNotForFiles = errors.New("the file system is the kernel's own and keeps no files")

func tryWrite(dir string) error {
	var held unix.Statfs_t
	if err := unix.Statfs(dir, &held); err != nil {
		return err
	}
	if held.Type == magicProc || held.Type == magicSysfs {
		return errNotForFiles
	}
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}
