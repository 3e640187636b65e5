package process

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// sinkRoom is how many bytes of log wait for whoever reads it.
	sinkRoom = 1 << 20
	// sinkPatience is how long the end of the process waits for what is left of the log.
	sinkPatience = 500 * time.Millisecond
)

// Sink writes lines of a log from a goroutine of its own. Who reads a pipe and stops
// reading holds up nobody who logs: what finds no room is dropped and counted.
type Sink struct {
	out     io.Writer
	mu      sync.Mutex
	waiting bytes.Buffer
	notice  *slog.Logger // writes to waiting; for what the sink has to say itself
	missing int          // lines dropped since the buffer was emptied last
	dropped atomic.Int64
	wake    chan struct{} // of one: something waits, or the end has come
	ended   chan struct{}
	closed  bool
}

// OpenLog returns the logger of a service, which writes to w by a sink, and the sink. From
// then on a reader of its pipe that goes away does not take the process along.
func OpenLog(w *os.File, level slog.Leveler) (*slog.Logger, *Sink) {
	signal.Ignore(syscall.SIGPIPE)
	s := newSink(w, IsTerminal(w))
	return newLogger(s, IsTerminal(w), level), s
}

func newSink(out io.Writer, terminal bool) *Sink {
	s := &Sink{out: out, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	s.notice = newLogger(&s.waiting, terminal, slog.LevelInfo)
	go s.drain()
	return s
}

// Write takes one line; it never waits and never fails.
func (s *Sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.waiting.Len()+len(line) > sinkRoom {
		s.missing++
		s.dropped.Add(1)
		return len(line), nil
	}
	s.waiting.Write(line)
	s.nudge()
	return len(line), nil
}

// Dropped is how many lines were lost, because nobody read the log or it could not be
// written.
func (s *Sink) Dropped() int64 { return s.dropped.Load() }

// Close writes what waits, if that is read soon, and ends.
func (s *Sink) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.nudge()
	select {
	case <-s.ended:
	case <-time.After(sinkPatience):
	}
}

func (s *Sink) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// drain writes until the sink is closed and empty. A write that nobody reads ends with the
// process.
func (s *Sink) drain() {
	defer close(s.ended)
	for range s.wake {
		for {
			lines, closed := s.take()
			if len(lines) == 0 {
				if closed {
					return
				}
				break
			}
			if _, err := s.out.Write(lines); err != nil {
				s.dropped.Add(int64(bytes.Count(lines, []byte("\n"))))
			}
		}
	}
}

// take empties the buffer. What found no room in it came after what is there, and is told here:
// there may be no later line, as at the end of the process.
func (s *Sink) take() (lines []byte, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missing > 0 {
		s.notice.Warn("lines of the log were dropped: nobody read it", "lines", s.missing)
		s.missing = 0
	}
	lines = bytes.Clone(s.waiting.Bytes())
	s.waiting.Reset()
	return lines, s.closed
}
