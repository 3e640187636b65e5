package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

var errNotRegular = errors.New("is not a regular file")

// readRegular reads a file of at most bound bytes. It never waits for a writer: a
// pipe under the name would hold up a running service for as long as nobody
// writes into it.
func readRegular(path string, bound int64) ([]byte, error) {
	// Without O_NONBLOCK a pipe keeps the open itself, before it can be looked at.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the operator names it
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if !info.Mode().IsRegular() && !isNull(info) {
		return nil, errNotRegular
	}
	content, err := io.ReadAll(io.LimitReader(file, bound+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if int64(len(content)) > bound {
		return nil, fmt.Errorf("is larger than %d bytes", bound)
	}
	return content, nil
}

// isNull accepts the null device, the customary name of an empty file.
func isNull(info os.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}
