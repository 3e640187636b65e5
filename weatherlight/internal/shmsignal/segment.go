package shmsignal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sizingPatience is how long a trainer may take from making a segment to giving it
// its size.
const sizingPatience = time.Second

// errSegmentGone says that the memory behind a mapping went away: its owner
// made the file shorter.
var errSegmentGone = errors.New("shared memory was taken away while it was read")

// segment is a trainer's piece of shared memory, mapped by name. The trainer
// makes and removes it; we only look, and clear what we have seen. It belongs
// to one goroutine.
type segment struct {
	path string
	size int // of the record, a multiple of 8 bytes

	data   []byte // nil while not attached
	file   int    // what data maps, kept open to ask who else has it open
	device uint64
	inode  uint64

	// watcher reports who opens the segment and who notifies; nil when nothing does.
	watcher *watcher
	writers writers
}

// newSegment names a segment; a leading slash is how POSIX writes the name.
func newSegment(dir, name string, size int) *segment {
	return &segment{path: segmentPath(dir, name), size: size}
}

func segmentPath(dir, name string) string { return filepath.Join(dir, strings.TrimPrefix(name, "/")) }

func (s *segment) attached() bool { return s.data != nil }

// follow attaches to whatever lies under the name now, and lets go of what lay
// there before. It reports whether there is anything.
func (s *segment) follow() (bool, error) {
	var found unix.Stat_t
	err := unix.Stat(s.path, &found)
	if errors.Is(err, unix.ENOENT) || err == nil && unsized(found, time.Now()) {
		return false, s.detach()
	}
	if err != nil {
		return false, fmt.Errorf("look for shared memory %s: %w", s.path, err)
	}
	if s.attached() && deviceOf(found) == s.device && found.Ino == s.inode && found.Size >= int64(s.size) {
		return true, nil
	}
	if err := s.detach(); err != nil {
		return false, err
	}
	if err := s.attach(); err != nil {
		return false, fmt.Errorf("attach shared memory %s: %w", s.path, err)
	}
	return true, nil
}

// unsized reports whether a segment was created this instant and will be given its
// size. A trainer that died in between leaves one that never is.
func unsized(found unix.Stat_t, now time.Time) bool {
	age := now.Sub(time.Unix(found.Mtim.Unix()))
	return found.Size == 0 && found.Mode&unix.S_IFMT == unix.S_IFREG && age.Abs() < sizingPatience
}

// attach maps the file itself. Python's own way of attaching would also remove
// the segment when this process ends.
func (s *segment) attach() error {
	file, err := unix.Open(s.path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if err := s.mapFile(file); err != nil {
		return errors.Join(err, unix.Close(file))
	}
	s.writers = s.expectWriters()
	return nil
}

func (s *segment) mapFile(file int) error {
	var found unix.Stat_t
	if err := unix.Fstat(file, &found); err != nil {
		return err
	}
	if err := s.fits(found); err != nil {
		return err
	}
	data, err := unix.Mmap(file, 0, s.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	s.data, s.file, s.device, s.inode = data, file, deviceOf(found), found.Ino
	return nil
}

func deviceOf(found unix.Stat_t) uint64 {
	return uint64(found.Dev) //nolint:unconvert // another type on other systems
}

// fits refuses what cannot be the record. Some systems round a segment up to
// whole pages.
func (s *segment) fits(found unix.Stat_t) error {
	if found.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not a regular file")
	}
	if found.Size != int64(s.size) && (found.Size == 0 || found.Size%int64(os.Getpagesize()) != 0) {
		return fmt.Errorf("%d bytes, want %d", found.Size, s.size)
	}
	return nil
}

func (s *segment) detach() error {
	if !s.attached() {
		return nil
	}
	s.forgetWriters()
	data := s.data
	s.data = nil
	if err := errors.Join(unix.Munmap(data), unix.Close(s.file)); err != nil {
		return fmt.Errorf("detach shared memory %s: %w", s.path, err)
	}
	return nil
}

// raised reads the flag alone: that is what a look at a quiet segment costs.
func (s *segment) raised() (raised bool, err error) {
	err = s.access(func() {
		var first [8]byte
		binary.NativeEndian.PutUint64(first[:], atomic.LoadUint64(&s.words()[0]))
		raised = first[0] == 1
	})
	return raised, err
}

// read copies the record. Each of its words is read whole; that the words
// belong together is for the caller to find out by reading again.
func (s *segment) read() ([]byte, error) {
	record := make([]byte, 0, s.size)
	err := s.access(func() {
		for i := range s.words() {
			record = binary.NativeEndian.AppendUint64(record, atomic.LoadUint64(&s.words()[i]))
		}
	})
	return record, err
}

// clear zeroes the record if it still is what was seen, and reports whether it
// did. The first word, which holds the flag, decides; the others follow as long
// as nobody begins to write the next record.
func (s *segment) clear(seen []byte) (bool, error) {
	cleared := false
	err := s.access(func() {
		words := s.words()
		cleared = swapWord(&words[0], seen, 0)
		for i := 1; cleared && i < len(words) && atomic.LoadUint64(&words[0]) == 0; i++ {
			swapWord(&words[i], seen, i)
		}
	})
	return cleared, err
}

func swapWord(word *uint64, seen []byte, i int) bool {
	return atomic.CompareAndSwapUint64(word, binary.NativeEndian.Uint64(seen[8*i:]), 0)
}

// words is the record as the machine words that can be read and swapped whole.
func (s *segment) words() []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(&s.data[0])), s.size/8) //nolint:gosec // a mapping begins at a page and holds size bytes
}

// access runs an access to the mapping. Memory that its owner took away raises a
// fault, which would end the process if it did not become an error here.
func (s *segment) access(run func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("%w: %s: %v", errSegmentGone, s.path, fault)
		}
	}()
	run()
	return nil
}

// try asks whether the segment could be attached: it may be missing, but what
// lies under its name must be the record and ours to clear.
func (s *segment) try() error {
	if _, err := os.Stat(filepath.Dir(s.path)); err != nil {
		return fmt.Errorf("no shared memory on this machine: %w", err)
	}
	if _, err := s.follow(); err != nil {
		return err
	}
	return s.detach()
}
