package urza

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"aead.dev/minisign"
	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// identity tells one state of one file from another without reading it. The change
// time catches a file that was rewritten in place and had its modification time
// put back.
type identity struct {
	device, inode  uint64
	size           int64
	mtime, changed int64  // nanoseconds since the epoch
	tag            string // an object's entity tag; a file has none
}

// verdict is what reading a file found out about the content it had under one identity.
type verdict struct {
	identity  identity
	sum       string
	err       error    // nil, ErrChecksumMismatch or ErrUntrusted
	signature identity // of the signature that was not good enough; zero when there was none
}

// timestampGrain bounds how coarse a file system's clock is: within it a file can
// change twice and keep its times.
const timestampGrain = 20 * time.Millisecond

// settled says whether a later change would show in the identity.
func (i identity) settled(now time.Time) bool {
	if i.tag != "" {
		return true // it follows from the content
	}
	age := now.Sub(time.Unix(0, max(i.mtime, i.changed)))
	return age > timestampGrain || age < -timestampGrain
}

// identify stats a regular file: one system call. A path that leads to no regular
// file is fs.ErrNotExist.
func identify(path string) (identity, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		if leadsNowhere(err) {
			return identity{}, fmt.Errorf("%s: %w (%w)", path, fs.ErrNotExist, err)
		}
		return identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identityOf(path, &stat)
}

// leadsNowhere is true for a path that no file can ever lie behind as things are: it
// goes through a file, or links lead round in a circle, or it is too long.
func leadsNowhere(err error) bool {
	return errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG)
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

// reading is what one look at an artifact, from the first byte to the last, found.
type reading struct {
	identity identity
	sum      string
	message  *minisign.Reader // nil unless signatures are checked
}

// read hashes an artifact and returns the identity it had all the while; errChanged
// when it had no single one. A pace bounds the bytes a second.
func (s stores) read(ctx context.Context, ref string, pace *rate.Limiter) (reading, error) {
	before, err := s.identify(ctx, ref) // also keeps us from blocking on a pipe
	if err != nil {
		return reading{}, err
	}
	file, err := s.open(ctx, ref)
	if err != nil {
		return reading{}, err
	}
	defer file.Close()
	digest := sha256.New()
	from, message := io.Reader(file), (*minisign.Reader)(nil)
	if s.hashed {
		message = minisign.NewReader(file)
		from = message
	}
	size, err := copyChunks(ctx, digest, from, pace)
	if err != nil {
		return reading{}, fmt.Errorf("read %s: %w", ref, err)
	}
	after, err := s.identify(ctx, ref)
	if err != nil || after != before || size != before.size { // an answer may end early and not say so
		return reading{}, fmt.Errorf("%s: %w", ref, errChanged)
	}
	return reading{before, hex.EncodeToString(digest.Sum(nil)), message}, nil
}

// chunk is how much is read between two looks at the context.
const chunk = 1 << 20

// copyChunks copies and looks at the context between chunks: artifacts can be large.
func copyChunks(ctx context.Context, to io.Writer, from io.Reader, pace *rate.Limiter) (size int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := io.CopyN(to, from, chunk)
		size += n
		if err != nil && !errors.Is(err, io.EOF) {
			return size, err
		}
		if pace != nil && n > 0 {
			if err := pace.WaitN(ctx, int(n)); err != nil {
				return size, err
			}
		}
		if n < chunk {
			return size, nil
		}
	}
}
