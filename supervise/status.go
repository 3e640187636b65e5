package supervise

import (
	"sync"
	"time"
)

// Status is what one worker is doing. Times are zero when there is none.
type Status struct {
	Name        string
	State       State
	Restarts    int           // starts after the first
	Streak      int           // failures since it was last healthy for ResetAfter: 0 is well, whatever came before
	Backoff     time.Duration // the delay that it is waiting for, 0 when it is not
	LastError   string        // of the last failure, however long ago: see LastErrorAt
	LastErrorAt time.Time
	StartedAt   time.Time // of the latest run
	NextStart   time.Time // when it is waiting
	Circuit     Circuit
	Uptime      time.Duration // since it was ready, 0 when it is not
	Finite      bool
}

// statusRecord is the only state of a worker that others may read. Its owner alone writes it.
type statusRecord struct {
	mu      sync.Mutex
	status  Status
	err     error     // behind status.LastError
	readyAt time.Time // when this run became ready
}

func (l *statusRecord) snapshot() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.status
	s.Uptime = l.uptimeLocked(time.Now())
	return s
}

func (l *statusRecord) state() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status.State
}

func (l *statusRecord) lastError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *statusRecord) uptime(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.uptimeLocked(now)
}

func (l *statusRecord) uptimeLocked(now time.Time) time.Duration {
	if l.readyAt.IsZero() {
		return 0
	}
	return now.Sub(l.readyAt)
}

// change is what comes with a move.
type change struct {
	err     error
	delay   time.Duration
	history History
}

// record makes a legal move and returns its event. An illegal one changes nothing but says so in the event.
func (l *statusRecord) record(to State, c change) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, s := time.Now(), &l.status
	e := Event{Time: now, Worker: s.Name, From: s.State, To: to, Err: c.err, Delay: c.delay, Circuit: c.history.Circuit}
	if !s.State.CanMove(to) {
		e.To, e.Err = s.State, &IllegalMoveError{Worker: s.Name, From: s.State, To: to}
		e.Circuit, e.Restarts = s.Circuit, s.Restarts
		return e
	}
	if s.State == BackingOff || s.State == Degraded {
		s.Backoff, s.NextStart = 0, time.Time{}
	}
	l.enter(to, now, c)
	s.State, s.Streak, s.Circuit = to, c.history.Streak, c.history.Circuit
	if c.err != nil {
		l.err, s.LastError, s.LastErrorAt = c.err, c.err.Error(), now
	}
	e.Restarts = s.Restarts
	return e
}

// enter keeps the times and counts that belong to a state.
func (l *statusRecord) enter(to State, now time.Time, c change) {
	s := &l.status
	switch to {
	case Starting:
		if s.State != Created {
			s.Restarts++
		}
		s.StartedAt = now
	case Running:
		if s.State != Running {
			l.readyAt = now
		}
	case BackingOff, Degraded:
		s.Backoff, s.NextStart, l.readyAt = c.delay, now.Add(c.delay), time.Time{}
	case Stopped, Finished, Failed:
		l.readyAt = time.Time{}
	}
}
