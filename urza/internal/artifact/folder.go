package artifact

import (
	"context"
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

	"github.com/esper-lite/weatherlight/internal/regularfile"
	"github.com/esper-lite/weatherlight/urza/internal/fault"
)

const (
	tempPattern      = ".save-*.tmp"
	quarantineFolder = "quarantine"
	// staleTemp is the age at which a temporary file can only be a crash's leftover.
	staleTemp = time.Hour
)

// folderStore keeps artifacts as files of one folder.
type folderStore struct {
	dir    string
	needed os.FileInfo // as it was opened: new artifacts go there, so that without it the store is away; or nil
	owned  []string    // folders whose files are the library's to move
	files  Files
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

func (a *folderStore) ref(checksum, source string) string {
	return filepath.Join(a.dir, artifactName(checksum, source))
}

// put always writes, also when the path exists: what is there may be damaged.
func (a *folderStore) put(ctx context.Context, path string, content []byte) error {
	temp, err := a.files.CreateTemp(a.dir)
	if err != nil {
		return fmt.Errorf("create temporary artifact: %w", err)
	}
	if _, err = temp.Write(content); err != nil {
		return errors.Join(fmt.Errorf("write artifact: %w", err), temp.Close(), a.files.Remove(temp.Name()))
	}
	if a.files.Name(temp.Name(), path) == nil {
		err = a.syncNew(temp)
	} else { // there already, or the file system cannot tell
		err = a.replace(ctx, temp, path)
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
func (a *folderStore) syncNew(file TempFile) error {
	folder := make(chan error, 1)
	go func() { folder <- a.files.SyncDir(a.dir) }()
	return errors.Join(file.Sync(), <-folder, file.Close())
}

// replace puts a file in the place of another in one step, once it is on the disk.
func (a *folderStore) replace(ctx context.Context, file TempFile, path string) error {
	err := errors.Join(file.Sync(), file.Close())
	if err == nil {
		err = a.takePlace(ctx, file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, a.files.Remove(file.Name()))
	}
	return a.files.SyncDir(a.dir)
}

// takePlace gives a file its name. A rename replaces all but a folder: one that somebody made
// there is set aside, so that a single artifact never keeps the others from being stored.
func (a *folderStore) takePlace(ctx context.Context, file, path string) error {
	err := a.files.Rename(file, path)
	if err == nil {
		return nil
	}
	if info, found := os.Lstat(path); found != nil || !info.IsDir() {
		return err
	}
	moved, aside := a.setAside(ctx, path, time.Now().UTC().Format("folder-20060102T150405.000000000"))
	if aside != nil || moved == "" {
		return errors.Join(err, aside)
	}
	return a.files.Rename(file, path)
}

// sweep removes temporary files that a crash left behind.
func (a *folderStore) sweep(now time.Time) (int, error) {
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
		if err := a.files.Remove(path); err == nil {
			swept++
		}
	}
	return swept, nil
}

func (a *folderStore) identify(_ context.Context, path string) (Identity, error) {
	found, err := a.files.Identify(path)
	return found, a.explain(err)
}

// explain tells a file that cannot be read from a folder that cannot be asked, which
// may be a disk that is not mounted: then a file that is not found may be there.
func (a *folderStore) explain(err error) error {
	if err == nil {
		return nil
	}
	if away := a.ask(); away != nil {
		return fmt.Errorf("%w: artifact folder: %v", fault.ErrUnavailable, away) //nolint:errorlint // no file is missing
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return err
	case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM): // ours, not the file's
		return fmt.Errorf("%w: %w", fault.ErrUnavailable, err)
	default:
		return fmt.Errorf("%w: %w", fault.ErrUnreadable, err)
	}
}

// ask looks into the folder.
func (a *folderStore) ask() error {
	if a.needed == nil {
		return nil
	}
	folder, err := os.Open(a.dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	if _, err := folder.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// open opens a file; what is none counts as not there.
func (a *folderStore) open(_ context.Context, path string) (io.ReadCloser, error) {
	file, err := regularfile.Open(path)
	// ENXIO is a socket, or a device that is not there.
	if leadsNowhere(err) || errors.Is(err, unix.ENXIO) || errors.Is(err, regularfile.ErrNotRegular) {
		err = fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	}
	if err != nil {
		return nil, a.explain(err)
	}
	return file, nil
}

// setAside leaves a file where it is that is outside the library's own folders, or
// no artifact: it belongs to somebody else.
func (a *folderStore) setAside(_ context.Context, path, sum string) (string, error) {
	if !slices.Contains(a.owned, filepath.Dir(path)) || !movable(filepath.Base(path)) {
		return "", nil
	}
	folder := filepath.Join(a.dir, quarantineFolder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("quarantine folder: %w", err)
	}
	// Named after what it is, beside what it should have been.
	target := filepath.Join(folder, filepath.Base(path)+"."+sum)
	if err := a.files.Rename(path, target); err != nil {
		return "", fmt.Errorf("move to quarantine: %w", err)
	}
	return target, nil
}

func (a *folderStore) remove(_ context.Context, path string) error { return a.files.Remove(path) }

func (a *folderStore) list(_ context.Context, visit func(ref string)) error {
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
