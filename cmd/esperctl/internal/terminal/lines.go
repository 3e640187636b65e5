// Package terminal is how esperctl shows what it has to say: lines of progress, tables that fit
// the terminal, and JSON. Text from outside cannot make a terminal obey it.
package terminal

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/cmd/internal/process"
)

// Lines shows progress, one line an event, so that it reads the same on a terminal and in a
// log. It is safe for concurrent use.
type Lines struct {
	out    io.Writer
	quiet  bool
	colour bool

	// Broken, when set, is called once, when nobody reads any more.
	Broken func(error)

	mu     sync.Mutex
	failed error // of the first write that failed
}

// NewLines shows nothing when it is quiet.
func NewLines(out io.Writer, quiet bool) *Lines {
	return &Lines{out: out, quiet: quiet, colour: Colours(out)}
}

// Colours says whether what is written there may have colours: on a terminal, unless NO_COLOR
// is set (no-color.org).
func Colours(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && process.Colours(file)
}

// Failure is why nothing more is shown, or nil.
func (l *Lines) Failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Colours of the parts of a line.
const (
	Faint = "2"
	Red   = "31"
	Green = "32"
	Cyan  = "36"
	Bold  = "1"
)

// Paint colours a text, where colours are shown.
func (l *Lines) Paint(colour, text string) string {
	if !l.colour {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Print shows a line.
func (l *Lines) Print(format string, arguments ...any) {
	if l.quiet {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return
	}
	if _, err := fmt.Fprintf(l.out, format+"\n", arguments...); err != nil {
		l.failed = fmt.Errorf("print progress: %w", err)
		if l.Broken != nil {
			l.Broken(l.failed)
		}
	}
}

// Milliseconds is a duration as a line of progress has it.
func Milliseconds(took time.Duration) string { return fmt.Sprintf("%.1f ms", took.Seconds()*1e3) }
