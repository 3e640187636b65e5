package shmsignal

import (
	"context"
	"time"
)

// folder is where Linux keeps POSIX shared memory.
const folder = "/dev/shm"

// Signal is a segment to be watched.
type Signal struct {
	Kind Kind
	Name string // in /dev/shm; a leading slash is how POSIX writes it. Empty: not watched
	// Report takes a trigger over, in the goroutine of Watch.Report; false means that it
	// must be offered again.
	Report func(Trigger) bool
}

// Path is where the segment lies.
func (s Signal) Path() string { return segmentPath(folder, s.Name) }

// Check asks whether the segment could be watched: it may be missing, but what lies under
// its name must be the record and ours to clear.
func (s Signal) Check() error { return newSegment(folder, s.Name, s.Kind.size()).try() }

// Kind is what a segment holds.
type Kind int

const (
	// Rollback is 16 bytes: a flag, and the deadline that was missed.
	Rollback Kind = iota
	// Emergency is 64 bytes: a flag, level, time and reason.
	Emergency
)

func (k Kind) size() int {
	if k == Rollback {
		return rollbackSize
	}
	return emergencySize
}

// Watch watches the segments of one trainer. Poll finds signals, Report hands them on:
// a report may go to disk, and the next signal must not wait for that. Each is run by
// one worker; Report stops after Poll, for it hands on what that held.
type Watch struct {
	poller   poller
	reporter reporter
}

// New watches the signals that have a name.
func New(signals ...Signal) *Watch {
	w := &Watch{reporter: newReporter()}
	for _, s := range signals {
		if s.Name != "" {
			w.poller.monitors = append(w.poller.monitors, newMonitor(folder, s.Name, s.Kind, w.reporter.offering(s.Report)))
		}
	}
	return w
}

// Empty says that nothing is watched.
func (w *Watch) Empty() bool { return len(w.poller.monitors) == 0 }

// Poll looks at the segments until ctx is done. Those that are not there yet are waited
// for.
func (w *Watch) Poll(ctx context.Context) error { return w.poller.run(ctx) }

// Report hands on what Poll finds, until ctx is done and nothing is left.
func (w *Watch) Report(ctx context.Context) error { return w.reporter.run(ctx) }

// Stats are what was found in a segment so far.
type Stats struct {
	Detections int64     // reports handed on
	LastAt     time.Time // of the last of them
	Skipped    int64     // triggers that became part of another's report
}

// Stats are those of the segment of a kind; nothing when none is watched.
func (w *Watch) Stats(kind Kind) Stats {
	for _, m := range w.poller.monitors {
		if m.kind == kind {
			return m.snapshot()
		}
	}
	return Stats{}
}
