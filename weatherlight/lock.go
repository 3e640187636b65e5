package weatherlight

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lockFile is the name of the lock inside the data folder.
const lockFile = "weatherlight.lock"

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

// dataLock holds one data folder for one process. The kernel drops the lock
// when the process ends, however it ends, so a lock is never stale.
type dataLock struct {
	file *os.File
}

// lockDataDir creates dir when needed and takes its lock. It fails with an
// *InUseError when another process has it.
func lockDataDir(dir string) (*dataLock, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("create data folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open data folder lock: %w", err)
	}
	if err := takeLock(file, dir); err != nil {
		_ = file.Close()
		return nil, err
	}
	if err := writePID(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write data folder lock: %w", err)
	}
	return &dataLock{file: file}, nil
}

func takeLock(file *os.File, dir string) error {
	err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return &InUseError{Dir: dir, PID: readPID(file)}
	}
	if err != nil {
		return fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	return nil
}

// tryLock asks whether a folder's lock is free. It changes nothing: a folder
// without the file was never locked.
func tryLock(dir string) error {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open data folder lock: %w", err)
	}
	defer file.Close()
	return takeLock(file, dir)
}

// Release gives the folder back. The file stays: removing it would let two
// processes lock two different files of the same name.
func (l *dataLock) Release() error {
	if l == nil || l.file == nil {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("release data folder: %w", err)
	}
	return nil
}

func readPID(file io.ReaderAt) int {
	var text [20]byte
	n, _ := file.ReadAt(text[:], 0) // io.EOF is the usual case: the number is shorter.
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}
