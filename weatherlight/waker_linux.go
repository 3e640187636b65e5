package weatherlight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// waker lets one goroutine sleep and wake at a timer of the system. The
// runtime's own timers wake two threads more each time, which at 125 times a
// second is half of what polling costs.
type waker struct {
	timer *os.File
	conn  syscall.RawConn
}

func newWaker() (*waker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timerfd")
	conn, err := timer.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create timer: %w", err), timer.Close())
	}
	return &waker{timer: timer, conn: conn}, nil
}

// Close frees the timer.
func (w *waker) Close() error { return w.timer.Close() }

// run calls step, sleeps for the pause that it returned, and so on until ctx is
// done.
func (w *waker) run(ctx context.Context, step func() time.Duration) error {
	defer context.AfterFunc(ctx, func() {
		_ = w.timer.SetReadDeadline(time.Unix(1, 0)) // wakes the sleeper; a closed timer has none
	})()
	var failed error
	err := w.conn.Read(func(fd uintptr) bool {
		if ctx.Err() != nil {
			return true
		}
		failed = set(int(fd), step())
		return failed != nil // else wait until the timer can be read
	})
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("wait for timer: %w", errors.Join(err, failed))
}

// set starts the timer anew, which also takes back that it went off.
func set(fd int, pause time.Duration) error {
	at := unix.NsecToTimespec(int64(max(pause, time.Microsecond)))
	return unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: at}, nil)
}
