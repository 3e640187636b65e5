package weatherlight

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/esper-lite/weatherlight/leyline"
)

const (
	// signalPoll is the pause between two looks at an attached segment: 125 a
	// second see a signal within 9 ms. Writers go through a mapping, of which the
	// system tells nobody. signalSettle is the pause before a record that was just
	// raised is looked at again.
	signalPoll   = 8 * time.Millisecond
	signalSettle = 100 * time.Microsecond
	// signalFollow is the pause between two questions whether the trainer has
	// made its segment anew. Unlike a look at the memory, each is a system call, and
	// wakes the runtime's own watcher.
	signalFollow = 200 * time.Millisecond
	// signalSearch is the pause between two looks for a missing segment, or for one
	// that could not be used.
	signalSearch = 250 * time.Millisecond
	// signalPatience is how long a record may lack its time: writers raise the
	// flag first.
	signalPatience = 10 * time.Millisecond
	// signalOvertaking is how long after a record was cleared a time without a flag
	// is a new one.
	signalOvertaking = time.Second
	// signalStorm is how long a record may keep changing before it is taken as
	// it is: a writer that never rests must still be heard.
	signalStorm = 100 * time.Millisecond

	rollbackCooldown  = 500 * time.Millisecond
	emergencyCooldown = 200 * time.Millisecond

	deadlineSize    = 16
	emergencySize   = 64
	emergencyHeader = 11 // bytes before the reason
)

// sharedSignal is one record of shared memory.
type sharedSignal struct {
	raised bool // the flag
	level  leyline.EmergencyLevel
	atMs   uint64 // CLOCK_MONOTONIC in ms; 0 is none
	reason string
}

// decodeDeadline reads the 16 bytes of the rollback signal: flag, seven unused
// bytes, time.
func decodeDeadline(record []byte) sharedSignal {
	return sharedSignal{raised: record[0] == 1, atMs: binary.LittleEndian.Uint64(record[8:])}
}

// decodeEmergency reads the 64 bytes of the emergency signal: flag, level,
// time, length of the reason, reason. A character that the end of the record
// cuts in two is left out.
func decodeEmergency(record []byte) sharedSignal {
	length := min(int(record[10]), emergencySize-emergencyHeader)
	reason := string(record[emergencyHeader : emergencyHeader+length])
	return sharedSignal{
		raised: record[0] == 1,
		level:  leyline.EmergencyLevel(record[1]),
		atMs:   binary.LittleEndian.Uint64(record[2:]),
		reason: strings.ToValidUTF8(reason, ""),
	}
}

// signalMonitor watches one segment, reports what is raised there, and clears
// exactly what it reports. A signalPoller calls it.
type signalMonitor struct {
	segment *segment
	decode  func([]byte) sharedSignal
	// report hands an alarm on; false means that it must be offered again.
	report func(alarm) bool
	// damper spaces the reports and holds what was not yet reported.
	damper damper

	// The record that was raised and not yet taken, and since when.
	unsettled []byte
	since     time.Time
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
		pause = signalSearch
	}
	m.mu.Lock()
	m.fault = err
	m.mu.Unlock()
	m.due = m.due.Add(pause) // in step, or each look would come later than the last
	if !m.due.After(now) {
		m.due = now.Add(pause)
	}
	return m.due
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
	return m.segment.detach()
}

// look reads the segment once and returns the pause until the next look. What
// is raised in an old segment is taken before a new one is looked for: a
// trainer that ends removes its segment.
func (m *signalMonitor) look(now time.Time) (time.Duration, error) {
	m.deliver(m.damper.due(now), now)
	if !m.segment.attached() {
		if attached, err := m.segment.follow(); err != nil || !attached {
			return min(signalSearch, m.damper.wait(now)), err
		}
	}
	if raised, err := m.segment.raised(); err != nil || !raised && now.Sub(m.takenAt) >= signalOvertaking {
		m.unsettled = nil
		return signalPoll, errors.Join(err, m.follow(now))
	}
	record, err := m.segment.read()
	if err != nil {
		return 0, err
	}
	signal := m.decode(record)
	if !m.pending(signal, now) {
		m.unsettled = nil
		return signalPoll, m.follow(now)
	}
	if !m.settled(record, signal, now) {
		return signalSettle, nil
	}
	return m.take(record, signal, now)
}

// follow looks for a new segment under the old name, now and then.
func (m *signalMonitor) follow(now time.Time) error {
	if now.Sub(m.followed) < signalFollow {
		return nil
	}
	m.followed = now
	_, err := m.segment.follow()
	return err
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
	return same && (signal.atMs != 0 || waited >= signalPatience) || waited >= signalStorm
}

// take clears a record and reports it. A record that changed meanwhile is left
// alone and looked at again.
func (m *signalMonitor) take(record []byte, signal sharedSignal, now time.Time) (time.Duration, error) {
	m.unsettled = nil
	cleared, err := m.segment.clear(record)
	if err != nil || !cleared {
		return signalSettle, err
	}
	signal.raised = true
	again := signal == m.last && signal.atMs != 0
	m.last, m.takenAt = signal, now
	if again {
		return signalPoll, nil // One trigger, written twice.
	}
	report := m.damper.take(alarm{
		level: signal.level, reason: signal.reason, atMs: signal.atMs,
		latency: sinceMonotonic(signal.atMs), triggers: 1,
	}, now)
	if report == nil {
		m.count(&m.skipped)
		return signalPoll, nil
	}
	m.deliver(report, now)
	return signalPoll, nil
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

// sinceMonotonic is the time since a reading of the monotonic clock, or 0 when
// there was none.
func sinceMonotonic(atMs uint64) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	nowNs := now.Nano()
	if atMs == 0 || atMs > uint64(nowNs)/uint64(time.Millisecond) {
		return 0
	}
	return time.Duration(nowNs) - time.Duration(atMs)*time.Millisecond
}
