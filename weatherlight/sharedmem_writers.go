package weatherlight

// writers is what is known of those who write to a segment. Nobody is told of a
// store through a mapping, so a segment must be polled, unless it is certain that
// nobody else has it open, or that those who have it ring after each signal. A
// writer promises that by a shared lock of the file (flock) for as long as it has
// it open, and rings by setting the times of the file (utimensat): both cost it
// one call, and neither changes a byte.
type writers struct {
	watch  int  // what the bell calls the segment; 0 is nothing
	silent bool // somebody may raise a signal and not ring
	broken bool // somebody did, although there was a promise
	hinted bool // the last question found a promise, or another service that asked at the same moment
}

// touch is what a bell told about a segment.
type touch struct {
	watch  int  // 0 when it may concern any
	opened bool // somebody opened it
	rang   bool // somebody set its times, or wrote to it with a system call
}

// expectWriters is what is known of a segment that was just attached.
func (s *segment) expectWriters() writers {
	expected := writers{silent: true}
	if s.bell != nil {
		expected.watch = s.bell.watch(s.file)
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
	w.silent = w.silent || t.opened
	w.hinted = w.hinted && !t.opened
	w.broken = w.broken && !t.rang
}

// wasSilent says that a signal was found that nobody had rung for.
func (w *writers) wasSilent() {
	w.broken = w.broken || !w.silent
	w.silent = true
}

// askWriters finds out whether anybody has the segment open who might not ring.
// Without word of those who open it later, the answer would be worth nothing.
func (s *segment) askWriters() error {
	w := &s.writers
	if !w.silent || w.watch == 0 {
		return nil
	}
	alone, err := onlyOurs(s.file)
	if err != nil {
		return err
	}
	if alone {
		w.silent, w.broken, w.hinted = false, false, false
		return nil
	}
	if w.broken {
		return nil
	}
	// Another service on this host asks with a lock of its own, which is gone the
	// next time.
	promised, err := lockedByOther(s.file)
	w.silent = !promised || !w.hinted
	w.hinted = promised
	return err
}
