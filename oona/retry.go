package oona

import (
	"time"
)

const retryPauseMax = 30 * time.Second

// retry is one entry waiting, still pending in Redis, for its next attempt.
type retry struct {
	attempts int           // deliveries so far
	pause    time.Duration // between the last attempt and the next
	due      time.Time
}

// retryPause is the wait after the given number of attempts. It stays below the
// time after which another consumer would take the entry for abandoned.
func retryPause(cfg Config, attempts int) time.Duration {
	limit := retryPauseMax
	if cfg.ClaimIdle > 0 {
		limit = min(limit, cfg.ClaimIdle/2)
	}
	pause := cfg.RetryBackoff
	for range attempts - 1 {
		if pause >= limit {
			break
		}
		pause *= 2
	}
	return min(pause, limit)
}

// postpone turns an entry in hand into one that waits.
func (f *flights) postpone(id, mark string, attempts int, now time.Time, pause time.Duration) {
	f.mu.Lock()
	f.release(id, mark)
	f.waiting[id] = retry{attempts: attempts, pause: pause, due: now.Add(pause)}
	f.lanes.wait(id)
	f.mu.Unlock()
	signal(f.wake)
}

// due lists up to limit entries whose time has come, and when the next one is
// due (zero: none waits).
func (f *flights) due(now time.Time, limit int) (ready []pendingEntry, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, r := range f.waiting {
		switch {
		case !r.due.After(now) && len(ready) < limit:
			ready = append(ready, pendingEntry{id: id, deliveries: r.attempts, guard: r.pause * 9 / 10})
		case next.IsZero() || r.due.Before(next):
			next = r.due
		}
	}
	return ready, next
}
