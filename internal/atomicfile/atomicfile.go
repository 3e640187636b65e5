// Package atomicfile replaces files in one step, so that a reader, or the next start
// after a power cut, finds the old content or the new and never a part.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// WriteFile makes content the content of path, durably, with these permissions. The
// old file stays when it fails. A process that is killed meanwhile may leave a file
// .<name>.*.tmp beside it, which nobody reads.
func WriteFile(path string, content []byte, permissions fs.FileMode) error {
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	err = errors.Join(fill(file, content, permissions), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return SyncDir(folder)
}

func fill(file *os.File, content []byte, permissions fs.FileMode) error {
	if _, err := file.Write(content); err != nil {
		return err
	}
	if err := file.Chmod(permissions); err != nil {
		return err
	}
	return file.Sync()
}

// SyncDir makes the names in a folder durable. File systems that cannot do that for
// a folder count as those that need not.
func SyncDir(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil
	}
	return errors.Join(err, folder.Close())
}
