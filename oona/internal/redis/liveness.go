package redis

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"
)

const (
	// watchAfter is the silence after a command that makes a connection suspect.
	watchAfter = 250 * time.Millisecond
	// watchAgain is the pause between two looks at a suspect.
	watchAgain = 100 * time.Millisecond
	// uplink is what the way to the server carries at the least, in bytes a
	// second: a large command is still being sent when a small one is overdue.
	uplink = 256 << 10
	// uplinkMost bounds what is granted for that: the largest message takes as long.
	uplinkMost = time.Second
)

// errDeadConnection: the peer of the connection has gone without a word.
var errDeadConnection = errors.New("connection is dead: the server answers others, but nothing here")

// watched is a connection that finds out that its peer has gone without a word,
// as after a broken router. Time alone cannot tell it from a slow server: a
// suspect is given up when the server answers a new connection and still not
// this one.
type watched struct {
	net.Conn
	dialer  *dialer
	answers func() bool // does the server answer a new connection?
	release func() bool // from the life of the client

	begun   time.Time
	asked   atomic.Int64 // since begun, when the first unanswered command was sent; 0: none
	grace   atomic.Int64 // how long the server may wait with its answer
	sent    atomic.Int64 // bytes since asked
	armed   atomic.Bool  // the timer runs
	dead    atomic.Bool
	closed  atomic.Bool
	suspect atomic.Int64 // the asked for which the server answered somebody else
	timer   *time.Timer
}

func newWatched(d *dialer, raw net.Conn, answers func() bool) *watched {
	w := &watched{Conn: raw, dialer: d, answers: answers, begun: time.Now()}
	w.grace.Store(int64(watchAfter))
	w.timer = time.AfterFunc(time.Hour, w.check)
	w.timer.Stop()
	w.release = context.AfterFunc(d.life, func() { _ = raw.Close() })
	return w
}

// SetDeadline tells how long a command may take: the client library gives an
// ordinary one the timeout, a blocking one its own time on top, and none on a
// connection that commands share.
func (w *watched) SetDeadline(t time.Time) error {
	grace := watchAfter
	if !t.IsZero() {
		grace += max(0, time.Until(t)-w.dialer.timeout)
	}
	w.grace.Store(int64(grace))
	return w.Conn.SetDeadline(t)
}

func (w *watched) Write(b []byte) (int, error) {
	now := max(1, int64(time.Since(w.begun)))
	if w.asked.CompareAndSwap(0, now) {
		w.sent.Store(0)
		w.arm(time.Duration(w.grace.Load()))
	}
	w.sent.Add(int64(len(b)))
	return w.Conn.Write(b)
}

// patience is how long the answer to what was asked may take.
func (w *watched) patience() time.Duration {
	sending := time.Duration(w.sent.Load()) * time.Second / uplink
	return time.Duration(w.grace.Load()) + min(sending, uplinkMost)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.asked.Store(0)
		if w.armed.CompareAndSwap(true, false) {
			w.timer.Stop() // an idle process must not be woken to look at what was answered
		}
	}
	if err != nil && w.dead.Load() {
		err = errDeadConnection
	}
	return n, err
}

func (w *watched) Close() error {
	w.closed.Store(true)
	w.release()
	w.timer.Stop()
	return w.Conn.Close()
}

func (w *watched) arm(wait time.Duration) {
	if w.armed.CompareAndSwap(false, true) {
		w.timer.Reset(wait)
	}
}

// check is what the timer does. While one waits for the server, the connection
// may come to life, be asked again and start another.
func (w *watched) check() {
	if !w.dialer.watch() {
		return
	}
	defer w.dialer.running.Done()
	if wait := w.verdict(); wait > 0 {
		w.timer.Reset(wait)
		return
	}
	w.armed.Store(false)
	if w.waits() {
		w.arm(watchAfter) // asked in between
	}
}

// waits reports whether an answer is still expected.
func (w *watched) waits() bool {
	return w.asked.Load() != 0 && !w.dead.Load() && !w.closed.Load()
}

// verdict returns when to look again, or 0 when nothing is waited for.
func (w *watched) verdict() time.Duration {
	asked := w.asked.Load()
	if !w.waits() {
		return 0
	}
	if rest := time.Duration(asked) + w.patience() - time.Since(w.begun); rest > 0 {
		return rest
	}
	if !w.dialer.reached() || unread(w.Conn) {
		// The first connection has its own bound, and what has come in waits for us:
		// on a machine that is too busy it is we who are late.
		return watchAgain
	}
	if w.suspect.Load() == asked {
		w.dead.Store(true)
		_ = w.Conn.Close() // whoever reads gets errDeadConnection
		return 0
	}
	if w.answers() {
		w.suspect.Store(asked) // one more look, for an answer that is under way
	}
	return watchAgain
}
