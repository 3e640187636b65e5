package storewatch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listener hears of breakpoints. The kernel has no ring into which two
// processors may tell of one inherited event at once, but it can send a signal
// (O_ASYNC): the listener has a thread that does nothing but wait for that, so
// that no other thread of this process ever gets it.
type listener struct {
	told   int // an eventfd: can be read when somebody stored
	thread int
	ending atomic.Bool
	ended  chan struct{}
}

func newListener() (*listener, error) {
	told, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	l := &listener{told: told, ended: make(chan struct{})}
	started := make(chan error)
	go l.listen(started)
	if err := <-started; err != nil {
		<-l.ended
		return nil, errors.Join(fmt.Errorf("block SIGIO: %w", err), unix.Close(told))
	}
	return l, nil
}

// listen keeps its thread, which ends with it: no other goroutine shall have its
// mask of signals.
func (l *listener) listen(started chan<- error) {
	defer close(l.ended)
	runtime.LockOSThread()
	only := unix.Sigset_t{}
	only.Val[0] = 1 << (unix.SIGIO - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &only, nil); err != nil {
		started <- err
		return
	}
	l.thread = unix.Gettid()
	started <- nil
	for !l.ending.Load() {
		if await(&only) {
			l.tell()
		}
	}
}

// await waits for a signal. Others than those asked for may end it earlier.
func await(signals *unix.Sigset_t) bool {
	const size = 8 // of what the kernel takes for a set, in bytes
	//nolint:gosec // the set outlives the call, and nothing is written
	_, _, errno := unix.Syscall6(unix.SYS_RT_SIGTIMEDWAIT, uintptr(unsafe.Pointer(signals)), 0, 0, size, 0, 0)
	return errno == 0
}

func (l *listener) tell() {
	// It fails only when nobody has listened for 2^64 stores.
	_, _ = unix.Write(l.told, binary.NativeEndian.AppendUint64(nil, 1))
}

// hear has the listener told of an event.
func (l *listener) hear(event int) error {
	owner := struct{ kind, id int32 }{ownerThread, int32(l.thread)} //nolint:gosec // a thread id
	//nolint:gosec // the call reads the two numbers
	_, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(event), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&owner)))
	if errno != 0 {
		return fmt.Errorf("own performance event: %w", errno)
	}
	if _, err := unix.FcntlInt(uintptr(event), unix.F_SETFL, unix.O_ASYNC); err != nil {
		return fmt.Errorf("hear of performance event: %w", err)
	}
	return nil
}

// Close ends the thread.
func (l *listener) Close() error {
	l.ending.Store(true)
	if err := unix.Tgkill(os.Getpid(), l.thread, unix.SIGIO); err != nil {
		return fmt.Errorf("end listener: %w", err)
	}
	<-l.ended
	return unix.Close(l.told)
}
