package shmsignal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waker lets one goroutine sleep until a timer of the system goes off or something
// happens to a watched file. The runtime's own timers wake two threads more each time,
// which at over 100 times a second is half of what polling costs.
type waker struct {
	watcher *watcher // nil when there is none
	timer   int
	both    *os.File // an epoll set, which can be read when one of the two can
	conn    syscall.RawConn
}

func newWaker() (*waker, error) {
	w := &waker{timer: -1}
	if err := w.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("create timer: %w", err), w.Close())
	}
	return w, nil
}

func (w *waker) open() error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	nonblocking := unix.SetNonblock(set, true) // or the runtime would not wait for it
	w.both = os.NewFile(uintptr(set), "signals")
	if w.conn, err = w.both.SyscallConn(); err != nil || nonblocking != nil {
		return errors.Join(err, nonblocking)
	}
	if w.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	if err := include(set, w.timer); err != nil {
		return err
	}
	if w.watcher, err = newWatcher(); err != nil {
		return nil // Without one, segments are polled.
	}
	return include(set, w.watcher.inotify)
}

func include(set, fd int) error {
	return unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN})
}

// Close frees timer and watcher.
func (w *waker) Close() error {
	failures := []error{w.watcher.Close()}
	if w.timer >= 0 {
		failures = append(failures, unix.Close(w.timer))
	}
	if w.both != nil {
		failures = append(failures, w.both.Close())
	}
	return errors.Join(failures...)
}

// run calls step, sleeps for the pause that it returned or until there is an event,
// and so on until ctx is done.
func (w *waker) run(ctx context.Context, step func() time.Duration) error {
	defer context.AfterFunc(ctx, func() {
		_ = w.both.SetReadDeadline(time.Unix(1, 0)) // wakes the sleeper; a closed set has none
	})()
	var failed error
	err := w.conn.Read(func(uintptr) bool {
		if ctx.Err() != nil {
			return true
		}
		failed = w.set(step())
		return failed != nil // else wait until the set can be read
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("wait for timer: %w", errors.Join(err, failed))
}

// set starts the timer anew, which also takes back that it went off.
func (w *waker) set(pause time.Duration) error {
	at := unix.NsecToTimespec(int64(max(pause, time.Microsecond)))
	return unix.TimerfdSettime(w.timer, 0, &unix.ItimerSpec{Value: at}, nil)
}
