package storewatch

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxEvents bounds what is opened: two files and two pages each.
	maxEvents = 512

	watched                = 8 // bytes
	breakpointWrite        = 2 // HW_BREAKPOINT_W of linux/hw_breakpoint.h
	removeOnExec    uint64 = 1 << 36
)

// errTooMany says that the writers have more threads than can be watched.
var errTooMany = fmt.Errorf("more than %d threads to watch", maxEvents)

// Watch tells of stores by the processes that Find has found. It belongs to one
// goroutine.
type Watch struct {
	epoll  int
	events map[int32]*event // by the file to wait for
}

func newWatch() (*Watch, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &Watch{epoll: epoll, events: make(map[int32]*event)}, nil
}

// FD is a file to wait for with epoll or poll: it can be read when somebody has
// stored or ended. Only Told says which, and may say so although a second wait
// would not end.
func (w *Watch) FD() int { return w.epoll }

// Told reports whether anybody stored since the last call, and whether all who
// were found have ended, which leaves nothing to wait for.
func (w *Watch) Told() (stored, ended bool, err error) {
	over, err := w.over()
	for _, e := range w.events {
		stored = e.stored() || stored // a last store before the end counts
	}
	for _, file := range over {
		err = errors.Join(err, w.events[file].Close())
		delete(w.events, file)
	}
	return stored, len(w.events) == 0, err
}

// over lists the events whose threads have ended, and those that inherited them.
func (w *Watch) over() (files []int32, err error) {
	var ready [maxEvents]unix.EpollEvent
	n, err := unix.EpollWait(w.epoll, ready[:], 0)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, fmt.Errorf("look for ends: %w", err)
	}
	for i := range n {
		if ready[i].Events&unix.EPOLLHUP != 0 {
			files = append(files, ready[i].Fd)
		}
	}
	return files, nil
}

// Close ends the watch. A Watch is closed once.
func (w *Watch) Close() error {
	failures := []error{unix.Close(w.epoll)}
	for _, e := range w.events {
		failures = append(failures, e.Close())
	}
	return errors.Join(failures...)
}

// add watches one place in one thread and all that it starts.
func (w *Watch) add(thread int, place uint64) error {
	if len(w.events) == maxEvents {
		return errTooMany
	}
	e, err := newEvent(thread, place)
	if err != nil {
		return err
	}
	file := int32(e.breakpoint) //nolint:gosec // files have small numbers
	if err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, e.breakpoint, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: file}); err != nil {
		return errors.Join(fmt.Errorf("wait for breakpoint: %w", err), e.Close())
	}
	w.events[file] = e
	return nil
}

// event is a breakpoint in a thread and in all that it starts. What is inherited
// cannot have a ring of its own to tell of stores: it uses that of an event which
// does nothing else.
type event struct {
	breakpoint, ring int
	pages            []byte // a page of figures and one for what is told
	seen             uint64
}

func newEvent(thread int, place uint64) (*event, error) {
	e := &event{breakpoint: -1, ring: -1}
	if err := e.open(thread, place); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *event) open(thread int, place uint64) (err error) {
	const here = unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv
	e.ring, err = openPerf(thread, &unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Bits: here, Wakeup: 1,
	})
	if err != nil {
		return err
	}
	e.pages, err = unix.Mmap(e.ring, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map ring: %w", err)
	}
	// Another program that a thread becomes has something else at this place.
	e.breakpoint, err = openPerf(thread, &unix.PerfEventAttr{
		Type: unix.PERF_TYPE_BREAKPOINT, Bp_type: breakpointWrite, Ext1: place, Ext2: watched,
		Bits: here | unix.PerfBitInherit | removeOnExec, Sample: 1, Wakeup: 1,
	})
	if err != nil {
		return err
	}
	if err := unix.IoctlSetInt(e.breakpoint, unix.PERF_EVENT_IOC_SET_OUTPUT, e.ring); err != nil {
		return fmt.Errorf("lead breakpoint to ring: %w", err)
	}
	return nil
}

func openPerf(thread int, attributes *unix.PerfEventAttr) (int, error) {
	attributes.Size = uint32(unsafe.Sizeof(*attributes))
	file, err := unix.PerfEventOpen(attributes, thread, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open performance event: %w", err)
	}
	return file, nil
}

// stored reports whether the ring was told of a store, and empties it: a full
// one would take no more.
func (e *event) stored() bool {
	figures := (*unix.PerfEventMmapPage)(unsafe.Pointer(&e.pages[0])) //nolint:gosec // that is what the first page holds
	head := atomic.LoadUint64(&figures.Data_head)
	if head == e.seen {
		return false
	}
	e.seen = head
	atomic.StoreUint64(&figures.Data_tail, head)
	return true
}

// Close ends the event, as far as it was opened.
func (e *event) Close() error {
	var failures []error
	if e.breakpoint >= 0 {
		failures = append(failures, unix.Close(e.breakpoint))
	}
	if e.pages != nil {
		failures = append(failures, unix.Munmap(e.pages))
	}
	if e.ring >= 0 {
		failures = append(failures, unix.Close(e.ring))
	}
	return errors.Join(failures...)
}
