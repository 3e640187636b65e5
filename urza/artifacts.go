package urza

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tempPattern      = ".save-*.tmp"
	quarantineFolder = "quarantine"
	// staleTemp is the age at which a temporary file can only be a crash's leftover.
	staleTemp = time.Hour
)

// files is the part of the file system a save depends on.
type files interface {
	createTemp(dir string) (tempFile, error)
	rename(from, to string) error
	syncDir(dir string) error
	remove(path string) error
	identify(path string) (identity, error)
}

type tempFile interface {
	io.Writer
	Sync() error
	Close() error
	Name() string
}

// artifacts is the folder of content-addressed files.
type artifacts struct {
	dir   string
	files files
}

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

var plainExtension = regexp.MustCompile(`^\.[a-z0-9]{1,10}$`)

// path of an artifact: its checksum and the extension of the file it came from,
// .onnx when that has none worth keeping.
func (a artifacts) path(checksum, source string) string {
	extension := strings.ToLower(filepath.Ext(source))
	if !plainExtension.MatchString(extension) || extension == ".tmp" {
		extension = ".onnx"
	}
	return filepath.Join(a.dir, checksum+extension)
}

// write makes the content durable under its path. It always writes, also when the
// path exists: what is there may be damaged, and a rename replaces it in one step.
func (a artifacts) write(path string, content []byte) error {
	temp, err := a.files.createTemp(a.dir)
	if err != nil {
		return fmt.Errorf("create temporary artifact: %w", err)
	}
	err = errors.Join(fill(temp, content), temp.Close())
	if err == nil {
		err = a.files.rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write artifact: %w", err), a.files.remove(temp.Name()))
	}
	if err := a.files.syncDir(a.dir); err != nil {
		return fmt.Errorf("sync artifact folder: %w", err)
	}
	return nil
}

func fill(file tempFile, content []byte) error {
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Sync()
}

// sweep removes temporary files that a crash left behind.
func (a artifacts) sweep(now time.Time) (int, error) {
	leftovers, err := filepath.Glob(filepath.Join(a.dir, tempPattern))
	if err != nil {
		return 0, fmt.Errorf("list temporary artifacts: %w", err)
	}
	swept := 0
	for _, path := range leftovers {
		info, err := os.Stat(path)
		if err != nil || now.Sub(info.ModTime()) < staleTemp {
			continue
		}
		if err := a.files.remove(path); err == nil {
			swept++
		}
	}
	return swept, nil
}

// disk is the real file system.
type disk struct{}

func (disk) createTemp(dir string) (tempFile, error) {
	file, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return nil, err
	}
	// Trainers that run as another user read the artifact by its path.
	if err := file.Chmod(0o644); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	return file, nil
}

func (disk) rename(from, to string) error           { return os.Rename(from, to) }
func (disk) identify(path string) (identity, error) { return identify(path) }

func (disk) remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (disk) syncDir(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer handle.Close()
	if err := handle.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}
