// Package regularfile reads files whose names come from outside: at most so many bytes,
// and without ever waiting for a writer.
package regularfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// ErrNotRegular reports a name under which there is a folder, a pipe or a device.
var ErrNotRegular = errors.New("is not a regular file")

// ErrTooLarge reports content above the bound.
var ErrTooLarge = errors.New("is too large")

// Open opens a file for reading. A pipe under the name is refused at once.
func Open(path string) (*os.File, error) { return OpenFile(path, os.O_RDONLY, 0) }

// OpenFile is os.OpenFile for what is, or becomes, a regular file.
func OpenFile(path string, flag int, perm os.FileMode) (*os.File, error) {
	// Without O_NONBLOCK a pipe keeps the open itself, before it can be looked at.
	file, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, absent(path, err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", path, ErrNotRegular)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// absent is the error of a name, which is not free when a link to nothing has it.
func absent(path string, err error) error {
	if _, linked := os.Lstat(path); linked == nil && errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s %w: it links to what is not there", path, ErrNotRegular)
	}
	return err
}

// Check refuses names under which there is something else than a regular file, for who
// has to leave the opening to others. A name that is free passes.
func Check(paths ...string) error {
	for _, path := range paths {
		if err := check(path); err != nil {
			return err
		}
	}
	return nil
}

func check(path string) error {
	info, err := os.Stat(path)
	if err = absent(path, err); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", path, ErrNotRegular)
	}
	return err
}

// CheckDatabase is Check for a SQLite file and what SQLite opens beside it.
func CheckDatabase(file string) error {
	for _, part := range []string{"", "-journal", "-wal", "-shm"} {
		if err := Check(file + part); err != nil {
			return err
		}
	}
	return nil
}

// ErrReplaced reports a file or a folder that was removed, or gave way to another one,
// while somebody works with it: what he writes is gone with him.
var ErrReplaced = errors.New("was removed or replaced while it is in use")

// Still returns ErrReplaced unless what lies under a name is what info tells of.
func Still(path string, info os.FileInfo) error {
	now, err := os.Stat(path)
	if err == nil && os.SameFile(now, info) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return fmt.Errorf("%s %w", path, ErrReplaced)
}

// InPlace is Still for a file that somebody has open under a name, or a lock on one. Nobody
// misses one that is closed.
func InPlace(path string, opened interface{ Stat() (os.FileInfo, error) }) error {
	info, err := opened.Stat()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return Still(path, info)
}

// Read returns what is in a file of at most bound bytes.
func Read(path string, bound int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	content, err := readSized(file, bound)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return content, nil
}

// ReadSecret is Read for a file that a secret lies in. Its error does not repeat a name under
// which nothing lies: somebody may have written the secret itself where its file is named.
func ReadSecret(path string, bound int64) ([]byte, error) {
	content, err := Read(path, bound)
	if _, nothing := os.Lstat(path); err != nil && nothing != nil {
		return nil, errNoFile
	}
	return content, err
}

var errNoFile = fmt.Errorf("the name, which is not repeated here, leads to no file: %w", os.ErrNotExist)

// readSized reads nothing of a file that says that it is too large.
func readSized(file *os.File, bound int64) ([]byte, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > bound {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrTooLarge, info.Size(), bound)
	}
	return ReadAll(file, bound)
}

// ReadAll reads to the end of what has at most bound bytes.
func ReadAll(from io.Reader, bound int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, bound+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > bound {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, bound)
	}
	return content, nil
}
