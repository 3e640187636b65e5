package weatherlight

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rings are what a bell tells of: that somebody opens a file, sets its times or
// removes it, or writes to it with a system call.
const rings = unix.IN_OPEN | unix.IN_ATTRIB | unix.IN_MODIFY

// bell tells what is done to files. A nil one tells nothing.
type bell struct {
	inotify int
	buffer  []byte
}

// newBell fails when the system grants no more of them: a user may have only
// so many.
func newBell() (*bell, error) {
	inotify, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create inotify: %w", err)
	}
	return &bell{inotify: inotify, buffer: make([]byte, 64*unix.SizeofInotifyEvent)}, nil
}

// Close ends all watches.
func (b *bell) Close() error {
	if b == nil {
		return nil
	}
	return unix.Close(b.inotify)
}

// watch begins to tell of an open file and returns the name that touches will
// have, or 0 when that is not possible.
func (b *bell) watch(file int) int {
	if b == nil {
		return 0
	}
	watch, err := unix.InotifyAddWatch(b.inotify, fmt.Sprint("/proc/self/fd/", file), rings)
	if err != nil {
		return 0
	}
	return watch
}

// unwatch ends a watch. One that has ended by itself is no fault.
func (b *bell) unwatch(watch int) {
	_, _ = unix.InotifyRmWatch(b.inotify, uint32(watch)) //nolint:gosec // a watch is never negative
}

// touches are what was told since the last call.
func (b *bell) touches() (told []touch) {
	if b == nil {
		return nil
	}
	for events := b.read(); len(events) > 0; events = b.read() {
		for len(events) >= unix.SizeofInotifyEvent {
			told = append(told, decodeTouch(events))
			name := binary.NativeEndian.Uint32(events[12:])
			events = events[unix.SizeofInotifyEvent+name:]
		}
	}
	return told
}

// read returns what waits, which is nothing most of the time. It passes the
// scheduler by, which would wake the runtime's watcher each time.
func (b *bell) read() []byte {
	//nolint:gosec // the call returns at once and writes no more than the buffer holds
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(b.inotify), uintptr(unsafe.Pointer(&b.buffer[0])), uintptr(len(b.buffer)))
	if errno != 0 {
		return nil
	}
	return b.buffer[:n]
}

// decodeTouch reads an inotify event. When the system could not keep up, it
// may have been any, of any file.
func decodeTouch(event []byte) touch {
	mask := binary.NativeEndian.Uint32(event[4:])
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return touch{opened: true, rang: true}
	}
	return touch{
		watch:  int(binary.NativeEndian.Uint32(event)),
		opened: mask&unix.IN_OPEN != 0,
		rang:   mask&(unix.IN_ATTRIB|unix.IN_MODIFY) != 0,
	}
}
