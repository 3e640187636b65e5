package shmsignal

import "errors"

var (
	errNoInotify   = errors.New("the system watches no more files for us (inotify)")
	errNotNotified = errors.New("a signal was found that nobody had notified of")
)

// writers is what is known of those who write to a segment. inotify reports no store
// through a mapping, so a segment must be polled, unless nobody else has it open, or
// those who have it notify after each signal. A writer promises that by a shared lock
// of the file (flock) for as long as it has it open, and notifies by setting the times
// of the file (utimensat): both cost it one call, and neither changes a byte.
type writers struct {
	watch      int    // the watcher's name of the segment; 0 is none
	detectedBy string // as in [Status]
	why        error  // why it is polled, when that is known

	locked     bool // the last question found a shared lock
	unreliable bool // whoever holds it did not notify
}

// event is what happened to a segment's file.
type event struct {
	watch    int  // 0 when it may concern any
	opened   bool // somebody opened it
	notified bool // somebody set its times, or wrote to it with a system call
}

// expectWriters is what is known of a segment that was just attached.
func (s *segment) expectWriters() writers {
	expected := writers{detectedBy: byPoll}
	if s.watcher != nil {
		expected.watch = s.watcher.watch(s.file)
	}
	if expected.watch == 0 {
		expected.why = errNoInotify
	}
	return expected
}

func (s *segment) forgetWriters() {
	if s.writers.watch != 0 {
		s.watcher.unwatch(s.writers.watch)
	}
	s.writers = writers{}
}

// concerns reports whether an event is about the segment as it is attached now.
func (w *writers) concerns(e event) bool {
	return w.watch != 0 && (e.watch == w.watch || e.watch == 0)
}

// hear takes an event in. Who opens the segment has promised nothing yet.
func (w *writers) hear(e event) {
	if e.opened {
		w.poll(nil)
		w.locked = false
	}
	if e.notified {
		w.unreliable = false
	}
}

// missed says that a signal was found that nobody notified of.
func (w *writers) missed() {
	if w.detectedBy != byPoll {
		w.unreliable = w.detectedBy == byNotice
		w.poll(errNotNotified)
	}
}

func (w *writers) poll(why error) { w.detectedBy, w.why = byPoll, why }

// askWriters finds out who has the segment open, and whether they notify. Without an
// event for those who open it later, the answer would be worth nothing.
func (s *segment) askWriters() error {
	w := &s.writers
	if w.watch == 0 || w.detectedBy == byNobody {
		return nil
	}
	alone, err := onlyOurs(s.file)
	if err != nil {
		return err
	}
	if alone {
		w.detectedBy, w.why, w.locked, w.unreliable = byNobody, nil, false, false
		return nil
	}
	return s.askLock()
}

// askLock believes a shared lock that was found twice in a row: another service on
// this host asks with a lock of its own, which is gone the next time.
func (s *segment) askLock() error {
	w := &s.writers
	locked, known, err := lockedByOther(s.file)
	if err != nil || !known {
		return err
	}
	believed := locked && w.locked && !w.unreliable
	w.locked = locked
	if believed {
		w.detectedBy, w.why = byNotice, nil
		return nil
	}
	if w.detectedBy == byNotice {
		w.poll(nil) // Who held the lock has gone, and somebody else is there.
	}
	return nil
}

// detectedBy says how a signal in the segment would be found, and why it must be
// polled for when that is known.
func (s *segment) detectedBy() (by string, why error) {
	if !s.attached() {
		return byNothing, nil
	}
	return s.writers.detectedBy, s.writers.why
}
