// Package process holds what every Esper command does around its work: exit
// codes, the logger, and the translation of signals.
package process

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/lmittmann/tint"

	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/settings"
	"github.com/esper-lite/weatherlight/signing"
	"github.com/esper-lite/weatherlight/supervise"
)

// Exit codes of every command.
const (
	ExitClean         = 0 // did what it was asked to do
	ExitFailed        = 1 // failed after it had started
	ExitConfiguration = 2 // the configuration is wrong
	ExitDependency    = 3 // something it needs was not there at boot
)

// DieBySignal makes a crash (a panic, a fatal error of the runtime, SIGQUIT, or the
// SIGABRT of a watchdog) end the process by SIGABRT. Go would exit with 2, which
// says here that the configuration is wrong: a service manager would not restart.
func DieBySignal() { debug.SetTraceback("crash") }

// memoryTarget is what the collector keeps a process below, in bytes, by running more often
// the closer it comes. What a peer can make a service remember is bounded; without a target
// it would take up three times as much between two collections.
const memoryTarget = 192 << 20

// CollectBelow sets the target, unless GOMEMLIMIT says otherwise.
func CollectBelow() {
	if before := debug.SetMemoryLimit(-1); before == math.MaxInt64 {
		debug.SetMemoryLimit(memoryTarget)
	}
}

// ExitCode is the exit code that an error stands for. An error with an Exit
// method of its own says so itself.
func ExitCode(err error) int {
	var faults *settings.Faults
	var own interface{ Exit() int }
	switch {
	case err == nil:
		return ExitClean
	case errors.As(err, &own):
		return own.Exit()
	case errors.As(err, &faults), errors.Is(err, signing.ErrNoSecret):
		return ExitConfiguration
	case atBoot(err):
		return ExitDependency
	default:
		return ExitFailed
	}
}

// atBoot says whether err is about something that a service needs to start.
func atBoot(err error) bool {
	var boot *supervise.BootError
	var bus *oona.ConnectError
	var network *net.OpError
	return errors.As(err, &boot) || errors.As(err, &bus) || errors.As(err, &network) && network.Op == "listen"
}

// Misconfigured is a fault of one variable that only the command can see.
func Misconfigured(variable string, err error) error {
	return &settings.Faults{List: []settings.Fault{{Env: variable, Err: err}}}
}

// Report writes an error to w, on one line: whoever reads only the first line of
// a failure learns the part and every cause. It does not wait for long until it is read.
func Report(w io.Writer, name string, err error) {
	s := newSink(w, false)
	_, _ = fmt.Fprintf(s, "%s: %s\n", name, OneLine(err.Error()))
	s.Close()
}

// OneLine joins the lines of a text by semicolons, and a headline to what it
// heads. A terminal obeys nothing in it.
func OneLine(text string) string { return Printable(joined(text)) }

func joined(text string) (joined string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case joined == "":
			joined = line
		case strings.HasSuffix(joined, ":"):
			joined += " " + line
		default:
			joined += "; " + line
		}
	}
	return joined
}

// NewLogger writes coloured text to a terminal and JSON to anything else, and waits for
// whoever reads it. A service has OpenLog.
func NewLogger(w *os.File, level slog.Leveler) *slog.Logger {
	return newLogger(w, IsTerminal(w), level)
}

// newLogger writes coloured text for a terminal and JSON for anything else.
func newLogger(w io.Writer, terminal bool, level slog.Leveler) *slog.Logger {
	if terminal {
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: plain()}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: readable}))
}

// readable writes durations as people do: "23ms" where the handler would write nanoseconds.
func readable(_ []string, attr slog.Attr) slog.Attr {
	if attr.Value.Kind() == slog.KindDuration {
		attr.Value = slog.StringValue(attr.Value.Duration().String())
	}
	return attr
}

// Colours reports whether what is written to f may have colours.
func Colours(f *os.File) bool { return IsTerminal(f) && !plain() }

// plain says that NO_COLOR is set to something (no-color.org).
func plain() bool {
	return slices.ContainsFunc(os.Environ(), func(pair string) bool {
		value, set := strings.CutPrefix(pair, "NO_COLOR=")
		return set && value != ""
	})
}

// IsTerminal reports whether a person is likely to read what is written to f.
func IsTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
