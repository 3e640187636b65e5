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
	"time"

	"golang.org/x/sys/unix"
)

// identity tells one state of one file from another without reading it. The change
// time catches a file that was rewritten in place and had its modification time
// put back.
type identity struct {
	device, inode  uint64
	size           int64
	mtime, changed int64 // nanoseconds since the epoch
}

// verdict is what reading a file found out about the content it had under one identity.
type verdict struct {
	identity identity
	sum      string
	good     bool
}

// timestampGrain bounds how coarse a file system's clock is: within it a file can
// change twice and keep its times.
const timestampGrain = 20 * time.Millisecond

// settled says whether a later change would show in the identity.
func (i identity) settled(now time.Time) bool {
	age := now.Sub(time.Unix(0, max(i.mtime, i.changed)))
	return age > timestampGrain || age < -timestampGrain
}

// identify stats a regular file: one system call. A path that leads to no regular
// file is fs.ErrNotExist.
func identify(path string) (identity, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		if errors.Is(err, unix.ENOTDIR) {
			return identity{}, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identityOf(path, &stat)
}

func identityOf(path string, stat *unix.Stat_t) (identity, error) {
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return identity{}, fmt.Errorf("%s: no regular file: %w", path, fs.ErrNotExist)
	}
	return identity{
		device: uint64(stat.Dev), inode: stat.Ino, size: stat.Size, //nolint:unconvert // Dev is int32 elsewhere
		mtime: stat.Mtim.Nano(), changed: stat.Ctim.Nano(),
	}, nil
}

// hashFile reads a file and returns its hex SHA-256 with the identity it had from
// the first byte to the last; errChanged when it had no single one.
func hashFile(ctx context.Context, path string) (identity, string, error) {
	before, err := identify(path) // also keeps us from blocking on a pipe
	if err != nil {
		return identity{}, "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return identity{}, "", err
	}
	defer file.Close()
	digest := sha256.New()
	if err := copyChunks(ctx, digest, file); err != nil {
		return identity{}, "", fmt.Errorf("read %s: %w", path, err)
	}
	after, err := identify(path)
	if err != nil || after != before {
		return identity{}, "", fmt.Errorf("%s: %w", path, errChanged)
	}
	return before, hex.EncodeToString(digest.Sum(nil)), nil
}

// copyChunks copies and looks at the context between chunks: artifacts can be large.
func copyChunks(ctx context.Context, to io.Writer, from io.Reader) error {
	const chunk = 1 << 20
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(to, from, chunk)
		if errors.Is(err, io.EOF) || (err == nil && n < chunk) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
