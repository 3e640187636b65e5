package artifact

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
)

// Files is the part of the file system that a save depends on.
type Files interface {
	CreateTemp(dir string) (TempFile, error)
	// Name is Rename, but fails when there is a file of that name.
	Name(from, to string) error
	Rename(from, to string) error
	SyncDir(dir string) error
	Remove(path string) error
	Identify(path string) (Identity, error)
}

// TempFile is a file that has not got its name yet.
type TempFile interface {
	io.Writer
	Sync() error
	Close() error
	Name() string
}

// Disk is the real file system.
type Disk struct{}

// CreateTemp makes a file that others may read: trainers that run as another user read
// the artifact by its path.
func (Disk) CreateTemp(dir string) (TempFile, error) {
	file, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(0o644); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	return file, nil
}

// Rename puts a file in the place of another.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Identify looks at a file without reading it.
func (Disk) Identify(path string) (Identity, error) { return identify(path) }

// Remove deletes a file, or does nothing when there is none.
func (Disk) Remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SyncDir makes the names in a folder durable.
func (Disk) SyncDir(dir string) error { return atomicfile.SyncDir(dir) }
