// Package datadir holds the folders that are one service's alone: a lock in each, so that
// no two have the same, and a name in the data folder, which tells a service that starts
// again from another one.
package datadir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// Names of the files inside the folder.
const (
	lockFile = "weatherlight.lock"
	nameFile = "instance-id"
)

// maxSmall bounds both files.
const maxSmall = 4096

// InUseError says that another process holds the data folder.
type InUseError struct {
	// Dir is the data folder.
	Dir string
	// PID is the other process as it wrote itself down, or 0 when unknown.
	PID int
}

func (e *InUseError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data folder %s is in use by another Weatherlight", e.Dir)
	}
	return fmt.Sprintf("data folder %s is in use by another Weatherlight (process %d)", e.Dir, e.PID)
}

// Lock holds data folders for one process. The kernel drops it when the process ends,
// however it ends, so a lock is never stale.
type Lock struct{ files []*flock.Flock }

// Take creates folders when needed and locks them. It fails with an *InUseError when
// another process has one of them, and then holds none. A folder that is named twice,
// by whatever path, is locked once.
func Take(dirs ...string) (*Lock, error) {
	lock, made := new(Lock), []fs.FileInfo{}
	for _, dir := range dirs {
		info, err := makeFolder(dir)
		if err != nil {
			return nil, errors.Join(err, lock.Release())
		}
		if slices.ContainsFunc(made, func(known fs.FileInfo) bool { return os.SameFile(known, info) }) {
			continue
		}
		file, err := takeOne(dir)
		if err != nil {
			return nil, errors.Join(err, lock.Release())
		}
		made, lock.files = append(made, info), append(lock.files, file)
	}
	return lock, nil
}

func makeFolder(dir string) (fs.FileInfo, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at data folder: %w", err)
	}
	return info, nil
}

func takeOne(dir string) (*flock.Flock, error) {
	file, err := take(dir, os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	// In place: another file of that name would have another lock.
	pid := []byte(strconv.Itoa(os.Getpid()) + "\n")
	if err := os.WriteFile(filepath.Join(dir, lockFile), pid, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("write data folder lock: %w", err), file.Close())
	}
	return file, nil
}

func take(dir string, flags int) (*flock.Flock, error) {
	if err := regularfile.Check(filepath.Join(dir, lockFile)); err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	file := flock.New(filepath.Join(dir, lockFile), flock.SetFlag(flags), flock.SetPermissions(0o600))
	locked, err := file.TryLock()
	switch {
	case err != nil:
		err = fmt.Errorf("lock data folder %s: %w", dir, err)
	case !locked:
		err = &InUseError{Dir: dir, PID: holder(dir)}
	default:
		return file, nil
	}
	return nil, errors.Join(err, file.Close())
}

// Try asks whether a folder's lock is free. It changes nothing: a folder without the
// file was never locked.
func Try(dir string) error {
	file, err := take(dir, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

// InPlace reports the want of a file that is locked: who removes one, or its folder, lets
// another process in.
func (l *Lock) InPlace() error {
	var missing []error
	for _, file := range l.files {
		missing = append(missing, regularfile.InPlace(file.Path(), file))
	}
	return errors.Join(missing...)
}

// Release gives the folders back. The files stay: removing one would let two
// processes lock two different files of the same name.
func (l *Lock) Release() error {
	if l == nil {
		return nil
	}
	var failures []error
	for _, file := range l.files {
		if err := file.Close(); err != nil {
			failures = append(failures, fmt.Errorf("release data folder: %w", err))
		}
	}
	return errors.Join(failures...)
}

// holder is the process that wrote itself down, or 0.
func holder(dir string) int {
	text, err := regularfile.Read(filepath.Join(dir, lockFile), maxSmall)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// Name reads the name of the data folder, and gives it one the first time.
func Name(dir string) (string, error) {
	name, err := ReadName(dir)
	if err != nil || name != "" {
		return name, err
	}
	name = rand.Text()
	if err := atomicfile.WriteFile(filepath.Join(dir, nameFile), []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("name the data folder: %w", err)
	}
	return name, nil
}

// ReadName is empty for a folder without a name, or with one that was torn.
func ReadName(dir string) (string, error) {
	content, err := regularfile.Read(filepath.Join(dir, nameFile), maxSmall)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the name of the data folder: %w", err)
	}
	if words := strings.Fields(string(content)); len(words) == 1 {
		return words[0], nil
	}
	return "", nil
}
