// Package bootlog keeps what each step of a boot came to, for the pages that are there before the
// boot is over.
//
// A [Log] hears of each step from the supervisor (Step), and tells of all of them (Steps), of
// the one in hand (Booting) and, afterwards, of how long they took (Booted). The composition root
// makes one.
package bootlog

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/supervise"
)

// Log is the record of one boot. It may be used from several goroutines.
type Log struct {
	names  []string
	onStep func(supervise.Trace)
	log    *slog.Logger

	mu    sync.Mutex
	steps []supervise.Trace
}

// New begins the record of a boot whose steps have those names, in order. onStep hears of each
// one that is over, and may be nil.
func New(names []string, onStep func(supervise.Trace), log *slog.Logger) *Log {
	return &Log{names: names, onStep: onStep, log: log}
}

// Step notes a step that is over.
func (l *Log) Step(trace supervise.Trace) {
	l.mu.Lock()
	l.steps = append(l.steps, trace)
	l.mu.Unlock()
	if l.onStep != nil {
		l.onStep(trace)
	}
	l.log.Debug("boot step", "step", trace.Step, "took", trace.Took, "error", trace.Err)
}

// Steps are those that are over, in order.
func (l *Log) Steps() []supervise.Trace {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.steps)
}

// named is how many steps of a boot that is over are named.
const named = 3

// Booted says how long the boot took, and which steps the longest. Before it is over it says nothing.
func (l *Log) Booted() string {
	steps := l.Steps()
	if len(steps) < len(l.names) {
		return ""
	}
	var took time.Duration
	for _, step := range steps {
		took += step.Took
	}
	slices.SortStableFunc(steps, func(a, b supervise.Trace) int { return cmp.Compare(b.Took, a.Took) })
	var longest []string
	for _, step := range steps[:min(len(steps), named)] {
		longest = append(longest, step.Step+" "+step.Took.Round(time.Millisecond).String())
	}
	return fmt.Sprintf("%s in %d steps, longest: %s", took.Round(time.Millisecond), len(steps), strings.Join(longest, ", "))
}

// Booting says which step is in hand, or at which one the boot ended.
func (l *Log) Booting() string {
	done := l.Steps()
	at := min(len(done), len(l.names)-1) // the last step is over a moment before the boot is
	if at > 0 && done[at-1].Err != nil {
		return fmt.Sprintf("booting: %s failed", done[at-1].Step)
	}
	return fmt.Sprintf("booting: step %d of %d, %s", at+1, len(l.names), l.names[at])
}
