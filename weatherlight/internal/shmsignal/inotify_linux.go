package shmsignal

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchedEvents: somebody opens a file, sets its times or removes it, or writes to it
// with a system call.
const watchedEvents = unix.IN_OPEN | unix.IN_ATTRIB | unix.IN_MODIFY

// watcher reports what is done to files. A nil one reports nothing.
type watcher struct {
	inotify int
	buffer  []byte
}

// newWatcher fails when the system grants no more of them: a user may have only
// so many.
func newWatcher() (*watcher, error) {
	inotify, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create inotify: %w", err)
	}
	return &watcher{inotify: inotify, buffer: make([]byte, 64*unix.SizeofInotifyEvent)}, nil
}

// Close ends all watches.
func (w *watcher) Close() error {
	if w == nil {
		return nil
	}
	return unix.Close(w.inotify)
}

// watch begins to watch an open file and returns the name that events will have, or 0
// when that is not possible.
func (w *watcher) watch(file int) int {
	if w == nil {
		return 0
	}
	watch, err := unix.InotifyAddWatch(w.inotify, fmt.Sprint("/proc/self/fd/", file), watchedEvents)
	if err != nil {
		return 0
	}
	return watch
}

// unwatch ends a watch. One that has ended by itself is no fault.
func (w *watcher) unwatch(watch int) {
	_, _ = unix.InotifyRmWatch(w.inotify, uint32(watch))
}

// events are those since the last call.
func (w *watcher) events() (events []event) {
	if w == nil {
		return nil
	}
	for raw := w.read(); len(raw) > 0; raw = w.read() {
		for len(raw) >= unix.SizeofInotifyEvent {
			events = append(events, decodeEvent(raw))
			name := binary.NativeEndian.Uint32(raw[12:])
			raw = raw[unix.SizeofInotifyEvent+name:]
		}
	}
	return events
}

// read returns what waits, which is nothing most of the time. It passes the
// scheduler by, which would wake the runtime's poller each time.
func (w *watcher) read() []byte {
	//nolint:gosec // the call returns at once and writes no more than the buffer holds
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(w.inotify), uintptr(unsafe.Pointer(&w.buffer[0])), uintptr(len(w.buffer)))
	if errno != 0 {
		return nil
	}
	return w.buffer[:n]
}

// decodeEvent reads an inotify event. When the system could not keep up, it
// may have been any, of any file.
func decodeEvent(raw []byte) event {
	mask := binary.NativeEndian.Uint32(raw[4:])
	if mask&unix.IN_Q_OVERFLOW != 0 {
		return event{opened: true, notified: true}
	}
	return event{
		watch:    int(binary.NativeEndian.Uint32(raw)),
		opened:   mask&unix.IN_OPEN != 0,
		notified: mask&(unix.IN_ATTRIB|unix.IN_MODIFY) != 0,
	}
}
