package urza

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/internal/atomicfile"
	"github.com/esper-lite/weatherlight/internal/regularfile"
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
	// name is rename, but fails when there is a file of that name.
	name(from, to string) error
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

// folderStore keeps artifacts as files of one folder.
type folderStore struct {
	dir   string
	owned []string // folders whose files are the library's to move
	files files
}

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

var plainExtension = regexp.MustCompile(`^\.[a-z0-9]{1,10}$`)

// artifactName is the checksum and the extension of the file that the artifact came
// from, .onnx when that has none worth keeping.
func artifactName(checksum, source string) string {
	extension := strings.ToLower(path.Ext(filepath.ToSlash(source)))
	if !plainExtension.MatchString(extension) || extension == ".tmp" || extension == signatureExtension {
		extension = ".onnx"
	}
	return checksum + extension
}

// artifactFile matches the names of artifacts and of their signatures.
var artifactFile = regexp.MustCompile(`^[0-9a-f]{64}\.[a-z0-9]{1,10}(\.minisig)?$`)

// prototypeExtension is that of every artifact of the prototype.
const prototypeExtension = ".pt"

// movable says that a file of this name is an artifact. A row can name any file,
// also the catalogue that it is in.
func movable(name string) bool {
	return artifactFile.MatchString(name) || path.Ext(name) == prototypeExtension
}

func (a folderStore) ref(checksum, source string) string {
	return filepath.Join(a.dir, artifactName(checksum, source))
}

// put always writes, also when the path exists: what is there may be damaged.
func (a folderStore) put(_ context.Context, path string, content []byte) error {
	temp, err := a.files.createTemp(a.dir)
	if err != nil {
		return fmt.Errorf("create temporary artifact: %w", err)
	}
	if _, err = temp.Write(content); err != nil {
		return errors.Join(fmt.Errorf("write artifact: %w", err), temp.Close(), a.files.remove(temp.Name()))
	}
	if a.files.name(temp.Name(), path) == nil {
		err = a.syncNew(temp)
	} else { // there already, or the file system cannot tell
		err = a.replace(temp, path)
	}
	if err != nil {
		return fmt.Errorf("write artifact: %w", err)
	}
	return nil
}

// syncNew makes a new file and its name durable, side by side: one commit of the file
// system's journal can hold both. No row promises the file yet, so a crash before the
// end leaves at most a file that nobody refers to. After a failure it stays: it may
// have become another saver's.
func (a folderStore) syncNew(file tempFile) error {
	folder := make(chan error, 1)
	go func() { folder <- a.files.syncDir(a.dir) }()
	return errors.Join(file.Sync(), <-folder, file.Close())
}

// replace puts a file in the place of another in one step, once it is on the disk.
func (a folderStore) replace(file tempFile, path string) error {
	err := errors.Join(file.Sync(), file.Close())
	if err == nil {
		err = a.files.rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, a.files.remove(file.Name()))
	}
	return a.files.syncDir(a.dir)
}

// sweep removes temporary files that a crash left behind.
func (a folderStore) sweep(now time.Time) (int, error) {
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

func (a folderStore) identify(_ context.Context, path string) (identity, error) {
	return a.files.identify(path)
}

// open opens a file; what is none counts as not there.
func (a folderStore) open(_ context.Context, path string) (io.ReadCloser, error) {
	file, err := regularfile.Open(path)
	// ENXIO is a socket, or a device that is not there.
	if leadsNowhere(err) || errors.Is(err, unix.ENXIO) || errors.Is(err, regularfile.ErrNotRegular) {
		err = fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, err
	}
	return file, nil
}

// setAside leaves a file where it is that is outside the library's own folders, or
// no artifact: it belongs to somebody else.
func (a folderStore) setAside(_ context.Context, path, sum string) (string, error) {
	if !slices.Contains(a.owned, filepath.Dir(path)) || !movable(filepath.Base(path)) {
		return "", nil
	}
	folder := filepath.Join(a.dir, quarantineFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("quarantine folder: %w", err)
	}
	// Named after what it is, beside what it should have been.
	target := filepath.Join(folder, filepath.Base(path)+"."+sum)
	if err := a.files.rename(path, target); err != nil {
		return "", fmt.Errorf("move to quarantine: %w", err)
	}
	return target, nil
}

func (a folderStore) remove(_ context.Context, path string) error { return a.files.remove(path) }

func (a folderStore) list(_ context.Context, visit func(ref string)) error {
	found, err := os.ReadDir(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list artifacts: %w", err)
	}
	for _, file := range found {
		if file.Type().IsRegular() && artifactFile.MatchString(file.Name()) {
			visit(filepath.Join(a.dir, file.Name()))
		}
	}
	return nil
}

func (folderStore) close() {}

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

func (disk) syncDir(dir string) error { return atomicfile.SyncDir(dir) }
