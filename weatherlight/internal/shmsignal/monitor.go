package shmsignal

import (
	"bytes"
	"errors"
	"sync"
	"time"
)

const (
	// pollPause is the pause between two looks at a segment where somebody may
	// raise a signal and tell nobody: short enough that not one signal in a hundred takes
	// 10 ms, although waking up may take 3. settlePause is the pause before a record
	// that was just raised is looked at again.
	pollPause   = 5 * time.Millisecond
	settlePause = 100 * time.Microsecond
	// restPause is the pause between two looks where nobody will: at a segment that
	// nobody has open, or whose writers notify, or that is missing or unusable. It is
	// also the pause between two questions whether that has changed, and whether the
	// trainer has made its segment anew: unlike a look at the memory they are system
	// calls, which wake the runtime's own watcher.
	restPause = 200 * time.Millisecond
	// patienceForReason is how long a record may lack its reason, which writers fill in
	// last.
	patienceForReason = 2 * time.Millisecond
	// overtaking is how long after a record was cleared a time without a flag
	// is a new one.
	overtaking = time.Second
	// storm is how long a record may keep changing, or lack its time, before it
	// is taken as it is: a writer that never rests must still be heard. Writers raise
	// the flag first, and may be stopped for long before they go on with the time.
	storm = 100 * time.Millisecond

	rollbackCooldown  = 500 * time.Millisecond
	emergencyCooldown = 200 * time.Millisecond
)

// monitor watches one segment, reports what is raised there, and clears
// exactly what it reports. A poller calls it.
type monitor struct {
	kind    Kind
	segment *segment
	decode  func([]byte) decoded
	// report hands a trigger on; false means that it must be offered again.
	report func(Trigger) bool
	// coalescer spaces the reports and holds what was not yet reported.
	coalescer coalescer

	// The record that was raised and not yet taken, since when, and whether its writer
	// notified.
	unsettled []byte
	since     time.Time
	notified  bool
	// What was found in the segment without a flag, and since when.
	remains      []byte
	remainsSince time.Time
	// The last signal taken, and when.
	last    decoded
	takenAt time.Time
	// When the segment's name was last looked at, and when it is our turn again.
	followed, due time.Time

	mu         sync.Mutex
	stats      Stats
	fault      error // why the segment cannot be used
	detectedBy string
	polled     error // why it must be polled
}

func newMonitor(dir, name string, kind Kind, report func(Trigger) bool) *monitor {
	m := &monitor{
		kind: kind, segment: newSegment(dir, name, kind.size()), report: report,
		decode: decodeEmergency, coalescer: coalescer{cooldown: emergencyCooldown},
	}
	if kind == Rollback {
		m.decode, m.coalescer.cooldown = decodeRollback, rollbackCooldown
	}
	return m
}

// turn looks at the segment when it is time, and returns when to look again. A
// segment that cannot be used is the trouble of this monitor alone: it is kept
// for whoever asks, and tried again.
func (m *monitor) turn(now time.Time) time.Time {
	if now.Before(m.due) {
		return m.due
	}
	pause, err := m.look(now)
	if err != nil {
		err = errors.Join(err, m.segment.detach())
		pause = restPause
	}
	m.publish(err)
	m.due = m.due.Add(pause) // in step, or each look would come later than the last
	if !m.due.After(now) {
		m.due = now.Add(pause)
	}
	return m.due
}

// hear takes in what happened to the segment's file, and makes it our turn.
func (m *monitor) hear(e event) {
	if !m.segment.writers.concerns(e) {
		return
	}
	m.segment.writers.hear(e)
	m.notified = m.notified || e.notified
	m.followed, m.due = time.Time{}, time.Time{}
}

// publish keeps for whoever asks whether the segment can be used, and how signals in
// it are found.
func (m *monitor) publish(fault error) {
	by, why := m.segment.detectedBy()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.detectedBy, m.polled = fault, by, why
}

func (m *monitor) snapshot() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}

// unusable says why the segment cannot be used, or nothing.
func (m *monitor) unusable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

// leave lets go of the segment and reports what is held.
func (m *monitor) leave() error {
	m.deliver(m.coalescer.release(), time.Now())
	m.due = time.Time{}
	err := m.segment.detach()
	m.publish(err)
	return err
}

// look reads the segment once and returns the pause until the next look. What
// is raised in an old segment is taken before a new one is looked for: a
// trainer that ends removes its segment.
func (m *monitor) look(now time.Time) (time.Duration, error) {
	m.deliver(m.coalescer.due(now), now)
	if !m.segment.attached() {
		if attached, err := m.segment.follow(); err != nil || !attached {
			return min(restPause, m.coalescer.wait(now)), err
		}
	}
	if raised, err := m.segment.raised(); err != nil || !raised && now.Sub(m.takenAt) >= overtaking {
		return m.quiet(now, err)
	}
	record, err := m.segment.read()
	if err != nil {
		return 0, err
	}
	signal := m.decode(record)
	if !m.pending(signal, now) {
		return m.quiet(now, m.sweep(record, signal, now))
	}
	if !m.settled(record, signal, now) {
		return settlePause, nil
	}
	return m.take(record, signal, now)
}

// sweep clears what a writer left behind after its signal was taken, once it has
// rested for the time of a poll: the writer may wait for all of it to be zero.
func (m *monitor) sweep(record []byte, signal decoded, now time.Time) error {
	if !leftBehind(record, signal) || !bytes.Equal(record, m.remains) {
		m.remains, m.remainsSince = record, now
		return nil
	}
	if now.Sub(m.remainsSince) < pollPause {
		return nil
	}
	_, err := m.segment.clear(record)
	return err
}

// quiet ends a look that found nothing.
func (m *monitor) quiet(now time.Time, err error) (time.Duration, error) {
	m.unsettled, m.notified = nil, false
	err = errors.Join(err, m.follow(now))
	return m.rest(now), err
}

// rest is the pause until the next look, if nothing happens before.
func (m *monitor) rest(now time.Time) time.Duration {
	if m.segment.writers.detectedBy == byPoll {
		return pollPause
	}
	return min(restPause, m.coalescer.wait(now))
}

// follow looks for a new segment under the old name and for those who write to
// it: whenever we are awake anyway, or now and then.
func (m *monitor) follow(now time.Time) error {
	if m.segment.writers.detectedBy == byPoll && now.Sub(m.followed) < restPause {
		return nil
	}
	m.followed = now
	if attached, err := m.segment.follow(); err != nil || !attached {
		return err
	}
	return m.segment.askWriters()
}

// pending reports whether a record is raised. A time without a flag shortly
// after a record was cleared is a new one whose flag was set just before.
func (m *monitor) pending(signal decoded, now time.Time) bool {
	overtaken := signal.atMs != 0 && signal.atMs != m.last.atMs && now.Sub(m.takenAt) < overtaking
	return signal.raised || overtaken
}

// settled reports whether the record was the same twice and is complete: a
// writer raises the flag first and fills in the rest afterwards.
func (m *monitor) settled(record []byte, signal decoded, now time.Time) bool {
	if m.unsettled == nil {
		m.since = now
	}
	same := bytes.Equal(record, m.unsettled)
	m.unsettled = record
	waited := now.Sub(m.since)
	return same && waited >= signal.patience() || waited >= storm
}

// take clears a record and reports it. A record that changed meanwhile is left
// alone and looked at again.
func (m *monitor) take(record []byte, signal decoded, now time.Time) (time.Duration, error) {
	m.unsettled = nil
	latency := sinceMonotonic(signal.atMs) // before the writer can see that it was taken
	cleared, err := m.segment.clear(record)
	if err != nil || !cleared {
		return settlePause, err
	}
	signal.raised = true
	again := signal == m.last && signal.atMs != 0
	m.last, m.takenAt = signal, now
	if !m.notified {
		m.segment.writers.missed()
	}
	m.notified = false
	if again {
		return m.rest(now), nil // One trigger, written twice.
	}
	report := m.coalescer.take(Trigger{
		Level: signal.level, Reason: signal.reason, AtMs: signal.atMs, Latency: latency, FoundAt: now, Count: 1,
	}, now)
	if report == nil {
		m.mu.Lock()
		m.stats.Skipped++
		m.mu.Unlock()
	}
	m.deliver(report, now)
	return m.rest(now), nil
}

// deliver reports a trigger, or keeps it for later when it cannot be taken: what
// was cleared in shared memory exists only here.
func (m *monitor) deliver(report *Trigger, now time.Time) {
	if report == nil {
		return
	}
	if !m.report(*report) {
		m.coalescer.keep(*report)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Detections++
	m.stats.LastAt = now
}
