package weatherlight

import "errors"

var (
	errNoNotice = errors.New("the system grants no notices of files (inotify)")
	errUntold   = errors.New("a signal was found that nobody had rung for")
)

// writers is what is known of those who write to a segment. inotify tells of no
// store through a mapping, so a segment must be polled, unless nobody else has it
// open, or those who have it ring after each signal. A writer promises to ring by
// a shared lock of the file (flock) for as long as it has it open, and rings by
// setting the times of the file (utimensat): both cost it one call, and neither
// changes a byte.
type writers struct {
	watch int    // what the bell calls the segment; 0 is nothing
	heard string // as in [SignalStatus]
	why   error  // why it is polled, when that is known

	hinted bool // the last question found a promise
	broken bool // a promise was not kept
}

// touch is what a bell told about a segment.
type touch struct {
	watch  int  // 0 when it may concern any
	opened bool // somebody opened it
	rang   bool // somebody set its times, or wrote to it with a system call
}

// expectWriters is what is known of a segment that was just attached.
func (s *segment) expectWriters() writers {
	expected := writers{heard: heardPoll}
	if s.bell != nil {
		expected.watch = s.bell.watch(s.file)
	}
	if expected.watch == 0 {
		expected.why = errNoNotice
	}
	return expected
}

func (s *segment) forgetWriters() {
	if s.writers.watch != 0 {
		s.bell.unwatch(s.writers.watch)
	}
	s.writers = writers{}
}

// concerns reports whether a touch is about the segment as it is attached now.
func (w *writers) concerns(t touch) bool {
	return w.watch != 0 && (t.watch == w.watch || t.watch == 0)
}

// hear takes a touch in. Who opens the segment has not promised anything yet.
func (w *writers) hear(t touch) {
	if t.opened {
		w.poll(nil)
		w.hinted = false
	}
	if t.rang {
		w.broken = false
	}
}

// wasSilent says that a signal was found that nobody rang for.
func (w *writers) wasSilent() {
	if w.heard != heardPoll {
		w.broken = w.heard == heardRing
		w.poll(errUntold)
	}
}

func (w *writers) poll(why error) { w.heard, w.why = heardPoll, why }

// askWriters finds out who has the segment open, and whether they would be heard.
// Without word of those who open it later, the answer would be worth nothing.
func (s *segment) askWriters() error {
	w := &s.writers
	if w.watch == 0 || w.heard == heardUnused {
		return nil
	}
	alone, err := onlyOurs(s.file)
	if err != nil {
		return err
	}
	if alone {
		w.heard, w.why, w.hinted, w.broken = heardUnused, nil, false, false
		return nil
	}
	return s.askPromise()
}

// askPromise believes a promise that was found twice in a row: another service on
// this host asks with a lock of its own, which is gone the next time.
func (s *segment) askPromise() error {
	w := &s.writers
	promised, known, err := promisedByOther(s.file)
	if err != nil || !known {
		return err
	}
	believed := promised && w.hinted && !w.broken
	w.hinted = promised
	if believed {
		w.heard, w.why = heardRing, nil
		return nil
	}
	if w.heard == heardRing {
		w.poll(nil) // Who promised has gone, and somebody else is there.
	}
	return nil
}

// heardBy says how a signal in the segment would be found, and why it must be
// polled for when that is known.
func (s *segment) heardBy() (by string, why error) {
	if !s.attached() {
		return heardMissing, nil
	}
	return s.writers.heard, s.writers.why
}
