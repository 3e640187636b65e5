package storewatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// mostEvents bounds the breakpoints of a watch, each of which is an open file;
	// it takes no more than a quarter of those that the process may have.
	mostEvents = 512

	watched                = 8 // bytes
	breakpointWrite        = 2 // HW_BREAKPOINT_W of linux/hw_breakpoint.h
	removeOnExec    uint64 = 1 << 36
	ownerThread     int32  = 0 // F_OWNER_TID of fcntl.h
)

// errTooMany says that the writers have more threads than can be watched.
var errTooMany = errors.New("too many threads to watch")

// Watch tells of stores by the processes that Find has found. It belongs to one
// goroutine.
type Watch struct {
	most        int
	breakpoints []int
	listener    *listener
	counted     uint64
}

func newWatch() (*Watch, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("ask for the limit of open files: %w", err)
	}
	l, err := newListener()
	if err != nil {
		return nil, err
	}
	return &Watch{most: int(min(mostEvents, files.Cur/4)), listener: l}, nil
}

// FD is a file to wait for with epoll or poll: it can be read while there is
// something to tell.
func (w *Watch) FD() int { return w.listener.told }

// Told reports whether anybody stored since the last call.
func (w *Watch) Told() bool {
	var count [8]byte
	n, err := unix.Read(w.listener.told, count[:])
	return err == nil && n > 0
}

// Counted reports whether anybody stored since the last call. It asks for each
// thread, and knows of a store as soon as that can be seen, which Told need not.
func (w *Watch) Counted() bool {
	var sum uint64
	for _, breakpoint := range w.breakpoints {
		var count [8]byte
		if n, err := unix.Read(breakpoint, count[:]); err == nil && n == len(count) {
			sum += binary.NativeEndian.Uint64(count[:])
		}
	}
	had := w.counted
	w.counted = sum
	return sum != had
}

// Close ends the watch. A Watch is closed once.
func (w *Watch) Close() error {
	var failures []error
	for _, breakpoint := range w.breakpoints {
		failures = append(failures, unix.Close(breakpoint))
	}
	return errors.Join(append(failures, w.listener.Close())...)
}

// add watches one place in one thread and all that it starts.
func (w *Watch) add(thread int, place uint64) error {
	if len(w.breakpoints) >= w.most {
		return fmt.Errorf("%w: more than %d breakpoints", errTooMany, w.most)
	}
	breakpoint, err := openBreakpoint(thread, place)
	if err != nil {
		return err
	}
	if err := w.listener.hear(breakpoint); err != nil {
		return errors.Join(err, unix.Close(breakpoint))
	}
	w.breakpoints = append(w.breakpoints, breakpoint)
	return nil
}

// Granted asks whether the system lets us set breakpoints at all, on a variable of
// our own.
func Granted() error {
	variable := new(uint64)
	breakpoint, err := openBreakpoint(0, uint64(uintptr(unsafe.Pointer(variable)))) //nolint:gosec // an address to watch for a moment
	if err != nil {
		return err
	}
	runtime.KeepAlive(variable)
	return unix.Close(breakpoint)
}

// openBreakpoint sets a breakpoint in a thread; 0 is our own. Another program that the
// thread becomes does not keep it: it has something else at this place.
func openBreakpoint(thread int, place uint64) (int, error) {
	attributes := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_BREAKPOINT, Bp_type: breakpointWrite, Ext1: place, Ext2: watched,
		Bits:   unix.PerfBitInherit | unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv | removeOnExec,
		Sample: 1,
	}
	attributes.Size = uint32(unsafe.Sizeof(attributes))
	breakpoint, err := unix.PerfEventOpen(&attributes, thread, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open performance event: %w", err)
	}
	return breakpoint, nil
}
