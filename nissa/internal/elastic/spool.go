package elastic

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gofrs/flock"
)

// errFull: the spool has no room for a document.
var errFull = errors.New("spool is full")

const (
	suffix   = ".ndjson"
	lockName = "lock"
)

// file is one of the spool to which nothing is added any more.
type file struct {
	number    uint64
	bytes     int64
	documents int
}

// room is what spools may take on the disk together. Each has a share of its own, so that one that
// is not emptied takes none from the others; what is beyond their shares they have in common.
type room struct {
	share, common int64 // bytes

	mu    sync.Mutex
	taken int64 // of common
}

// ownShare is the part of the whole that each spool has for itself.
const ownShare = 16

func newRoom(most int64, spools int) *room {
	share := most / ownShare
	return &room{share: share, common: most - int64(spools)*share}
}

// grow asks for a spool to have so many bytes and not as many as before. It is false when there is no room.
func (r *room) grow(before, after int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	more := r.beyond(after) - r.beyond(before)
	if more > 0 && r.taken+more > r.common {
		return false
	}
	r.taken += more
	return true
}

// set says that a spool has so many bytes, room or not.
func (r *room) set(before, after int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken += r.beyond(after) - r.beyond(before)
}

func (r *room) beyond(bytes int64) int64 { return max(bytes-r.share, 0) }

// spool keeps documents on the disk in files of about the same size, in the order in which they
// came. What was added outlives the process, and not a machine that loses its power.
type spool struct {
	dir   string
	room  *room
	each  int64 // bytes of one file
	lock  *flock.Flock
	grown chan struct{} // one is complete by its size

	mu       sync.Mutex
	complete []file
	open     *os.File // the one that grows, and nil before something is added
	growing  file
	bytes    int64 // of all
}

// openSpool finds what another process left.
func openSpool(dir string, room *room, each int64) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &spool{
		dir: dir, room: room, each: each, grown: make(chan struct{}, 1),
		lock: flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600)),
	}
	if locked, err := s.lock.TryLock(); err != nil || !locked {
		if err == nil {
			err = fmt.Errorf("%s is in use by another process", dir)
		}
		return nil, errors.Join(err, s.lock.Close())
	}
	if err := s.find(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

func (s *spool) find() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name, is := strings.CutSuffix(entry.Name(), suffix)
		number, err := strconv.ParseUint(name, 10, 64)
		if !is || err != nil || !entry.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(s.path(number))
		if err != nil {
			return err
		}
		found := file{number, int64(len(text)), bytes.Count(text, []byte(actionBegin))}
		s.complete = append(s.complete, found)
		s.resize(s.bytes + found.bytes)
	}
	slices.SortFunc(s.complete, func(a, b file) int { return cmp.Compare(a.number, b.number) })
	if n := len(s.complete); n > 0 {
		s.growing.number = s.complete[n-1].number
	}
	return nil
}

func (s *spool) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d%s", number, suffix))
}

// resize notes how much there is now.
func (s *spool) resize(bytes int64) {
	s.room.set(s.bytes, bytes)
	s.bytes = bytes
}

// add writes the lines of a document behind the others, if there is room.
func (s *spool) add(lines []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.room.grow(s.bytes, s.bytes+int64(len(lines))) {
		return errFull
	}
	s.bytes += int64(len(lines))
	written, err := s.write(lines)
	s.resize(s.bytes - int64(len(lines)-written))
	return err
}

// write says how much more there is now.
func (s *spool) write(lines []byte) (written int, err error) {
	if s.open == nil {
		if err := s.begin(); err != nil {
			return 0, err
		}
	}
	written, err = s.open.Write(lines)
	if err != nil {
		// What follows must not be the end of this one.
		undone := s.open.Truncate(s.growing.bytes)
		if undone == nil {
			return 0, err
		}
		s.growing.bytes += int64(written)
		s.end()
		return written, errors.Join(err, undone)
	}
	s.growing.documents++
	s.growing.bytes += int64(written)
	if s.growing.bytes >= s.each {
		s.end()
		select {
		case s.grown <- struct{}{}:
		default:
		}
	}
	return written, nil
}

func (s *spool) begin() error {
	number := s.growing.number + 1
	open, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.open, s.growing = open, file{number: number}
	return nil
}

// end makes the file that grows complete.
func (s *spool) end() {
	_ = s.open.Close() // each write has been answered
	s.open = nil
	s.complete = append(s.complete, s.growing)
}

// oldest is the file whose documents came first. It makes the one that grows complete when there
// is no other.
func (s *spool) oldest() (file, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.complete) == 0 && s.open != nil && s.growing.documents > 0 {
		s.end()
	}
	if len(s.complete) == 0 {
		return file{}, false
	}
	return s.complete[0], true
}

func (s *spool) read(f file) ([]byte, error) { return os.ReadFile(s.path(f.number)) }

// remove takes the oldest file out.
func (s *spool) remove(f file) error {
	if err := os.Remove(s.path(f.number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete = s.complete[1:]
	s.resize(s.bytes - f.bytes)
	return nil
}

// waiting is how much there is.
func (s *spool) waiting() (documents int, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		documents = s.growing.documents
	}
	for _, f := range s.complete {
		documents += f.documents
	}
	return documents, s.bytes
}

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open != nil {
		s.end()
	}
	return s.lock.Close()
}
