package weatherlight

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// signalPoll is the pause between two looks at a segment where somebody may
	// raise a signal and tell nobody: short enough that one signal in a hundred takes
	// 10 ms although waking up may take 3. signalSettle is the pause before a record
	// that was just raised is looked at again.
	signalPoll   = 7 * time.Millisecond
	signalSettle = 100 * time.Microsecond
	// signalRest is the pause between two looks where nobody will: at a segment that
	// nobody has open, or whose writers ring, or that is missing or unusable. It is
	// also the pause between two questions whether that has changed, and whether the
	// trainer has made its segment anew: unlike a look at the memory they are system
	// calls, which wake the runtime's own watcher.
	signalRest = 200 * time.Millisecond
	// signalPatience is how long a record may lack its reason, which writers fill in
	// last.
	signalPatience = 2 * time.Millisecond
	// signalOvertaking is how long after a record was cleared a time without a flag
	// is a new one.
	signalOvertaking = time.Second
	// signalStorm is how long a record may keep changing, or lack its time, before it
	// is taken as it is: a writer that never rests must still be heard. Writers raise
	// the flag first, and may be stopped for long before they go on with the time.
	signalStorm = 100 * time.Millisecond

	rollbackCooldown  = 500 * time.Millisecond
	emergencyCooldown = 200 * time.Millisecond
)

// signalMonitor watches one segment, reports what is raised there, and clears
// exactly what it reports. A signalPoller calls it.
type signalMonitor struct {
	segment *segment
	decode  func([]byte) sharedSignal
	// report hands an alarm on; false means that it must be offered again.
	report func(alarm) bool
	// damper spaces the reports and holds what was not yet reported.
	damper damper

	// The record that was raised and not yet taken, since when, and whether somebody
	// rang for it.
	unsettled []byte
	since     time.Time
	rung      bool
	// What was found in the segment without a flag, and since when.
	remains      []byte
	remainsSince time.Time
	// The last signal taken, and when.
	last    sharedSignal
	takenAt time.Time
	// When the segment's name was last looked at, and when it is our turn again.
	followed, due time.Time

	mu         sync.Mutex
	detections int64
	skipped    int64
	lastAt     time.Time
	fault      error // why the segment cannot be used
	heard      string
	unheard    error // why it must be polled
}

// turn looks at the segment when it is time, and returns when to look again. A
// segment that cannot be used is the trouble of this monitor alone: it is kept
// for whoever asks, and tried again.
func (m *signalMonitor) turn(now time.Time) time.Time {
	if now.Before(m.due) {
		return m.due
	}
	pause, err := m.look(now)
	if err != nil {
		err = errors.Join(err, m.segment.detach())
		pause = signalRest
	}
	m.tell(err)
	m.due = m.due.Add(pause) // in step, or each look would come later than the last
	if !m.due.After(now) {
		m.due = now.Add(pause)
	}
	return m.due
}

// hear takes in what the bell told of the segment, and makes it our turn.
func (m *signalMonitor) hear(t touch) {
	if !m.segment.writers.concerns(t) {
		return
	}
	m.segment.writers.hear(t)
	m.rung = m.rung || t.rang
	m.followed, m.due = time.Time{}, time.Time{}
}

// tell keeps for whoever asks whether the segment can be used, and how it is
// heard.
func (m *signalMonitor) tell(fault error) {
	heard, why := m.segment.heardBy()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.heard, m.unheard = fault, heard, why
}

// unusable says why the segment cannot be used, or nothing.
func (m *signalMonitor) unusable() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fault
}

// leave lets go of the segment and reports what is held.
func (m *signalMonitor) leave() error {
	m.deliver(m.damper.release(), time.Now())
	m.due = time.Time{}
	err := m.segment.detach()
	m.tell(err)
	return err
}

// look reads the segment once and returns the pause until the next look. What
// is raised in an old segment is taken before a new one is looked for: a
// trainer that ends removes its segment.
func (m *signalMonitor) look(now time.Time) (time.Duration, error) {
	m.deliver(m.damper.due(now), now)
	if !m.segment.attached() {
		if attached, err := m.segment.follow(); err != nil || !attached {
			return min(signalRest, m.damper.wait(now)), err
		}
	}
	if raised, err := m.segment.raised(); err != nil || !raised && now.Sub(m.takenAt) >= signalOvertaking {
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
		return signalSettle, nil
	}
	return m.take(record, signal, now)
}

// sweep clears what a writer left behind after its signal was taken, once it has
// rested for the time of a poll: the writer may wait for all of it to be zero.
func (m *signalMonitor) sweep(record []byte, signal sharedSignal, now time.Time) error {
	if !leftBehind(record, signal) || !bytes.Equal(record, m.remains) {
		m.remains, m.remainsSince = record, now
		return nil
	}
	if now.Sub(m.remainsSince) < signalPoll {
		return nil
	}
	_, err := m.segment.clear(record)
	return err
}

// quiet ends a look that found nothing.
func (m *signalMonitor) quiet(now time.Time, err error) (time.Duration, error) {
	m.unsettled, m.rung = nil, false
	err = errors.Join(err, m.follow(now))
	return m.rest(now), err
}

// rest is the pause until the next look, if nobody rings before.
func (m *signalMonitor) rest(now time.Time) time.Duration {
	if m.segment.writers.heard == heardPoll {
		return signalPoll
	}
	return min(signalRest, m.damper.wait(now))
}

// follow looks for a new segment under the old name and for those who write to
// it: whenever we are awake anyway, or now and then.
func (m *signalMonitor) follow(now time.Time) error {
	if m.segment.writers.heard == heardPoll && now.Sub(m.followed) < signalRest {
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
func (m *signalMonitor) pending(signal sharedSignal, now time.Time) bool {
	overtaken := signal.atMs != 0 && signal.atMs != m.last.atMs && now.Sub(m.takenAt) < signalOvertaking
	return signal.raised || overtaken
}

// settled reports whether the record was the same twice and is complete: a
// writer raises the flag first and fills in the rest afterwards.
func (m *signalMonitor) settled(record []byte, signal sharedSignal, now time.Time) bool {
	if m.unsettled == nil {
		m.since = now
	}
	same := bytes.Equal(record, m.unsettled)
	m.unsettled = record
	waited := now.Sub(m.since)
	return same && waited >= signal.patience() || waited >= signalStorm
}

// take clears a record and reports it. A record that changed meanwhile is left
// alone and looked at again.
func (m *signalMonitor) take(record []byte, signal sharedSignal, now time.Time) (time.Duration, error) {
	m.unsettled = nil
	latency := sinceMonotonic(signal.atMs) // before the writer can see that it was taken
	cleared, err := m.segment.clear(record)
	if err != nil || !cleared {
		return signalSettle, err
	}
	signal.raised = true
	again := signal == m.last && signal.atMs != 0
	m.last, m.takenAt = signal, now
	if !m.rung {
		m.segment.writers.wasSilent()
	}
	m.rung = false
	if again {
		return m.rest(now), nil // One trigger, written twice.
	}
	report := m.damper.take(alarm{
		level: signal.level, reason: signal.reason, atMs: signal.atMs,
		latency: latency, triggers: 1,
	}, now)
	if report == nil {
		m.count(&m.skipped)
		return m.rest(now), nil
	}
	m.deliver(report, now)
	return m.rest(now), nil
}

// deliver reports an alarm, or keeps it for later when it cannot be taken: what
// was cleared in shared memory exists only here.
func (m *signalMonitor) deliver(report *alarm, now time.Time) {
	if report == nil {
		return
	}
	if !m.report(*report) {
		m.damper.keep(*report)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.detections++
	m.lastAt = now
}

func (m *signalMonitor) count(counter *int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*counter++
}

// points are the counters under a prefix. Those that never counted are left
// out.
func (m *signalMonitor) points(prefix string) []point {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var points []point
	if m.detections > 0 {
		points = append(points,
			point{name: prefix + ".detections_total", value: float64(m.detections), unit: "count"},
			point{name: prefix + ".last_detect_ms_ago", value: sinceMs(m.lastAt), unit: "ms"})
	}
	if m.skipped > 0 {
		points = append(points, point{name: prefix + ".skipped_total", value: float64(m.skipped), unit: "count"})
	}
	return points
}

// skippedPoints is the part of the counters that the emergency stream has not.
func (m *signalMonitor) skippedPoints(prefix string) []point {
	points := m.points(prefix)
	return slices.DeleteFunc(points, func(p point) bool { return p.name != prefix+".skipped_total" })
}
