package kasmina

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/esper-lite/weatherlight/kernel"
	"github.com/esper-lite/weatherlight/leyline"
)

const (
	maxArtifactBytes = 16 << 20
	artifactTimeout  = 10 * time.Second
)

// artifactError tells why an announced artifact was not taken.
type artifactError struct {
	reason string // the gate's failure reason
	err    error
}

func (e *artifactError) Error() string { return e.reason + ": " + e.err.Error() }
func (e *artifactError) Unwrap() error { return e.err }

type opener func(ctx context.Context, ref string) (io.ReadCloser, error)

// openFile opens a regular file. Without O_NONBLOCK a pipe in its place would keep
// the open itself waiting for a writer.
func openFile(_ context.Context, ref string) (io.ReadCloser, error) {
	path := strings.TrimPrefix(ref, "file://")
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// loadArtifact reads the announced bytes and takes them as a kernel when they
// are what was announced. Its errors are *artifactError.
func loadArtifact(ctx context.Context, open opener, ready *leyline.KernelArtifactReady) (*kernel.Kernel, error) {
	content, err := readArtifact(ctx, open, ready.GetArtifactRef())
	if err != nil {
		return nil, &artifactError{"artifact_unreadable", err}
	}
	if sum := kernel.Checksum(content); !strings.EqualFold(sum, ready.GetChecksum()) {
		return nil, &artifactError{"checksum_mismatch", fmt.Errorf("announced %q, read %q", ready.GetChecksum(), sum)}
	}
	loaded, err := kernel.Load(content)
	if err != nil {
		return nil, &artifactError{"kernel_invalid", err}
	}
	return loaded, nil
}

func readArtifact(ctx context.Context, open opener, ref string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, artifactTimeout)
	defer cancel()
	reader, err := open(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("open %q: %w", ref, err)
	}
	content, err := io.ReadAll(io.LimitReader(reader, maxArtifactBytes+1))
	if err = errors.Join(err, reader.Close()); err != nil {
		return nil, fmt.Errorf("read %q: %w", ref, err)
	}
	if len(content) > maxArtifactBytes {
		return nil, fmt.Errorf("read %q: more than %d bytes", ref, maxArtifactBytes)
	}
	return content, nil
}
