package weatherlight

import (
	"errors"
	"time"

	"github.com/esper-lite/weatherlight/weatherlight/internal/storewatch"
)

// writers is what is known of those who write to a segment. inotify tells of no
// store through a mapping, so a segment must be polled, unless it is certain that
// nobody else has it open, that those who have it ring after each signal, or that
// the processor tells of their stores. A writer promises to ring by a shared lock
// of the file (flock) for as long as it has it open, and rings by setting the
// times of the file (utimensat): both cost it one call, and neither changes a byte.
type writers struct {
	watch  int  // what the bell calls the segment; 0 is nothing
	silent bool // somebody may raise a signal that nothing tells of
	broken bool // somebody did, although that was thought impossible
	hinted bool // the last question found a promise, or another service that asked at the same moment

	stores  *storewatch.Watch // tells of the stores of all writers; nil while nothing does
	hunt    hunt              // for those whose stores could be told
	vain    vain              // what was told for nothing
	stale   bool              // somebody may be there whom neither has seen
	crowded bool              // too much was told for nothing
}

// heard says how a signal in the segment would be found, in the words of
// [SignalStatus], and why it must be polled for when that is known.
func (s *segment) heard() (by string, why error) {
	w := &s.writers
	switch {
	case !s.attached():
		return heardMissing, nil
	case w.silent:
		return heardPoll, w.hunt.failure
	case w.stores != nil:
		return heardStores, nil
	case w.hinted:
		return heardRing, nil
	default:
		return heardUnused, nil
	}
}

// touch is what a bell told about a segment.
type touch struct {
	watch  int  // 0 when it may concern any
	opened bool // somebody opened it
	rang   bool // somebody set its times, wrote to it with a system call, or stored into it
	deaf   bool // stores are no longer told: who made them has ended
}

// expectWriters is what is known of a segment that was just attached.
func (s *segment) expectWriters() writers {
	expected := writers{silent: true}
	if s.bell != nil {
		expected.watch = s.bell.watch(s.file)
	}
	return expected
}

func (s *segment) forgetWriters() error {
	err := s.forgetStores()
	if s.writers.watch != 0 {
		s.bell.unwatch(s.writers.watch)
	}
	s.writers = writers{}
	return err
}

// concerns reports whether a touch is about the segment as it is attached now.
func (w *writers) concerns(t touch) bool {
	return w.watch != 0 && (t.watch == w.watch || t.watch == 0)
}

// hear takes a touch in. Who opens the segment has not promised anything yet, and
// was not there when others were found.
func (w *writers) hear(t touch) {
	unknown := t.opened || t.deaf
	w.silent = w.silent || unknown
	w.stale = w.stale || unknown
	w.hinted = w.hinted && !t.opened
	w.broken = w.broken && !t.rang
}

// wasSilent says that a signal was found that nothing had told of.
func (w *writers) wasSilent() {
	w.broken = w.broken || !w.silent
	w.silent, w.stale = true, true
}

// askWriters finds out whether anybody has the segment open who might not ring.
// Without word of those who open it later, the answer would be worth nothing.
func (s *segment) askWriters(now time.Time) error {
	w := &s.writers
	if w.watch == 0 || !w.silent && w.stores == nil {
		return nil
	}
	if err := s.reconsiderStores(now); err != nil {
		return err
	}
	alone, err := onlyOurs(s.file)
	if err != nil {
		return err
	}
	if alone {
		w.silent, w.broken, w.hinted = false, false, false
		return s.forgetStores()
	}
	if w.broken || w.stores != nil {
		return nil
	}
	// Another service on this host asks with a lock of its own, which is gone the
	// next time.
	promised, err := lockedByOther(s.file)
	w.silent = !promised || !w.hinted
	w.hinted = promised
	if err != nil || !w.silent {
		return errors.Join(err, s.forgetStores())
	}
	return s.findStores(now)
}
