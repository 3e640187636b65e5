package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// held is a writer that waits until it is let go.
type held struct {
	gate    chan struct{}
	entered chan struct{} // of one, or nil: somebody waits to write
	mu      sync.Mutex
	got     bytes.Buffer
}

func (h *held) Write(b []byte) (int, error) {
	select {
	case h.entered <- struct{}{}:
	default:
	}
	<-h.gate
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.got.Write(b)
}

func TestSinkKeepsOrderAndLosesNothingThatIsRead(t *testing.T) {
	h := &held{gate: make(chan struct{})}
	close(h.gate)
	s := newSink(h, false)
	logger := newLogger(s, false, slog.LevelInfo)
	for n := range 10_000 {
		logger.Info("line", "n", n)
	}
	s.Close()
	lines := strings.Split(strings.TrimSpace(h.got.String()), "\n")
	if len(lines) != 10_000 || !strings.Contains(lines[9_999], `"n":9999`) || s.Dropped() != 0 {
		t.Errorf("%d lines, the last %s, %d dropped", len(lines), lines[len(lines)-1], s.Dropped())
	}
}

func TestLogThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	h := &held{gate: make(chan struct{})}
	s := newSink(h, false)
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	const lines = 3 * sinkRoom / 1024
	for range lines {
		if n, err := s.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	dropped := s.Dropped()
	if dropped < lines/3 || dropped > 2*lines/3 {
		t.Errorf("%d of %d lines dropped with room for a third, and as much under way", dropped, lines)
	}
	close(h.gate)
	for wrote := false; !wrote; { // what finds room says what is missing
		before := s.Dropped()
		_, _ = s.Write([]byte("again\n"))
		wrote = s.Dropped() == before
	}
	s.Close()
	if text := h.got.String(); !strings.Contains(text, "lines of the log were dropped") || !strings.HasSuffix(text, "again\n") {
		t.Errorf("the log ends with %q", text[max(0, len(text)-200):])
	}
}

// The lines that are dropped last have no later one that could tell of them.
func TestLogThatEndsWithDroppedLinesSaysHowMany(t *testing.T) {
	h := &held{gate: make(chan struct{}), entered: make(chan struct{}, 1)}
	s := newSink(h, false)
	_, _ = s.Write([]byte("first\n"))
	<-h.entered // from here on nothing is taken out of the buffer
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	for range 3 * sinkRoom / 1024 {
		_, _ = s.Write(line)
	}
	close(h.gate)
	s.Close()
	lines := strings.Split(strings.TrimSpace(h.got.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, fmt.Sprintf(`"lines":%d`, s.Dropped())) {
		t.Errorf("%d lines dropped, the log ends with %q", s.Dropped(), last)
	}
}

func TestSinkCountsWhatCannotBeWritten(t *testing.T) {
	out, in := io.Pipe()
	_ = out.CloseWithError(errors.New("gone"))
	s := newSink(in, false)
	_, _ = s.Write([]byte("a\nb\n"))
	s.Close()
	if s.Dropped() != 2 {
		t.Errorf("%d lines dropped, want 2", s.Dropped())
	}
}

func TestCloseOfALogThatNobodyReadsEnds(t *testing.T) {
	h := &held{gate: make(chan struct{})}
	s := newSink(h, false)
	_, _ = s.Write([]byte("a\n"))
	s.Close()
	close(h.gate)
	<-s.ended
}
