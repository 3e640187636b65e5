// Package atomicfile replaces files in one step, so that a reader, or the next start
// after a power cut, finds the old content or the new and never a part.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/esper-lite/weatherlight/internal/regularfile"
)

// WriteFile makes content the content of path, durably, with these permissions. The
// old file stays when it fails. A link stays, and the file that it leads to gets the content;
// a device, a pipe or a folder is refused. A process that is killed meanwhile may leave a
// file .<name>.*.tmp beside it, which nobody reads: see Sweep.
func WriteFile(path string, content []byte, permissions fs.FileMode) error {
	return Write(path, permissions, func(to io.Writer) error {
		_, err := to.Write(content)
		return err
	})
}

// Write is WriteFile for content that is not in memory as a whole: it is what write writes.
func Write(path string, permissions fs.FileMode, write func(to io.Writer) error) error {
	path, err := place(path)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	file, err := os.CreateTemp(folder, unfinished(path))
	if err != nil {
		return err
	}
	err = errors.Join(fill(file, write, permissions), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return SyncDir(folder)
}

// place is where a file called path lies, or may come to lie. A rename asks nothing: it would
// put a file in the place of a device that the whole machine needs.
func place(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	place, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	return place, regularfile.Check(place)
}

// Sweep removes what writers of path that were killed left beside it. It is for the one owner
// of path, before its first write: what another writes at the moment would be lost.
func Sweep(path string) error {
	if led, err := filepath.EvalSymlinks(path); err == nil {
		path = led
	}
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var failed []error
	before, after, _ := strings.Cut(unfinished(path), "*")
	for _, entry := range entries {
		if name := entry.Name(); strings.HasPrefix(name, before) && strings.HasSuffix(name, after) {
			failed = append(failed, os.Remove(filepath.Join(folder, entry.Name())))
		}
	}
	return errors.Join(failed...)
}

// unfinished is the pattern of the names of files that are to become path.
func unfinished(path string) string { return "." + filepath.Base(path) + ".*.tmp" }

func fill(file *os.File, write func(to io.Writer) error, permissions fs.FileMode) error {
	if err := write(file); err != nil {
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

// Writable makes a folder when it is missing and proves that files can be made in it,
// so that a wrong mount fails at the start and not at the first write. The pattern names
// the file that it tries that with, as for os.CreateTemp.
func Writable(folder, pattern string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("create %s: %w", folder, err)
	}
	probe, err := os.CreateTemp(folder, pattern)
	if err == nil {
		err = probe.Close()
	}
	if err != nil {
		return fmt.Errorf("%s is not writable: %w", folder, err)
	}
	return os.Remove(probe.Name())
}
