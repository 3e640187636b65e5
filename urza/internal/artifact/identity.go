package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// Identity tells one state of one artifact from another without reading it. The change
// time catches a file that was rewritten in place and had its modification time
// put back.
type Identity struct {
	Size     int64
	Modified int64 // nanoseconds since the epoch, likewise changed

	device, inode uint64
	changed       int64
	tag           string // an object's entity tag; a file has none
}

// timestampGrain bounds how coarse a file system's clock is: within it a file can
// change twice and keep its times.
const timestampGrain = 20 * time.Millisecond

// Settled says whether a later change would show in the identity.
func (i Identity) Settled(now time.Time) bool {
	if i.tag != "" {
		return true // it follows from the content
	}
	age := now.Sub(time.Unix(0, max(i.Modified, i.changed)))
	return age > timestampGrain || age < -timestampGrain
}

// identify stats a regular file: one system call. A path that leads to no regular
// file is fs.ErrNotExist.
func identify(path string) (Identity, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		if leadsNowhere(err) {
			return Identity{}, fmt.Errorf("%s: %w (%w)", path, fs.ErrNotExist, err)
		}
		return Identity{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return identityOf(path, &stat)
}

// leadsNowhere is true for a path that no file can ever lie behind as things are: it
// goes through a file, or links lead round in a circle, or it is too long.
func leadsNowhere(err error) bool {
	return errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG)
}

func identityOf(path string, stat *unix.Stat_t) (Identity, error) {
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return Identity{}, fmt.Errorf("%s: no regular file: %w", path, fs.ErrNotExist)
	}
	return Identity{
		device: uint64(stat.Dev), inode: stat.Ino, Size: stat.Size, //nolint:unconvert // Dev is int32 elsewhere
		Modified: stat.Mtim.Nano(), changed: stat.Ctim.Nano(),
	}, nil
}
