package delivery

import (
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

const retryPauseMax = 30 * time.Second

// retry is one entry waiting, still pending in Redis, for its next attempt.
type retry struct {
	attempts int           // deliveries so far
	guard    time.Duration // it must have been idle for so long
	due      time.Time
	alone    bool // suspected of killing its process: see isolate
}

// tally is what this process knows of the earlier deliveries of an entry.
type tally struct {
	failures  int // its handler returned an error, or panicked
	explained int // those, and deliveries whose answers could not be stored
}

// crashFactor is how many times RetryAttempts an entry is delivered without any
// outcome, before it is taken for what kills its process.
const crashFactor = 3

// isPoison tells an entry that kills whoever handles it from one that was in
// hand when something else did: a delivery without an outcome is no failure of
// its handler, and counts for much less.
func (s *consumer) isPoison(e entry.Entry) bool {
	unexplained := e.Attempt - 1
	if unexplained < crashFactor*s.c.RetryAttempts {
		return false
	}
	return unexplained-s.inflight.tallyOf(e.ID).explained >= crashFactor*s.c.RetryAttempts
}

// isSuspect reports whether an entry was delivered so often without an outcome
// that it is tried alone from now on: only then does a crash tell which entry
// was the cause. Keyed deliveries run one at a time by themselves.
func (s *consumer) isSuspect(p pendingEntry) bool {
	return p.deliveries >= s.c.RetryAttempts && s.order == nil
}

// fails counts an error of the handler, and returns how many there were.
func (f *inflight) fails(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.tallies[id]
	known.failures++
	f.tallies[id] = known
	return known.failures
}

func (f *inflight) tallyOf(id string) tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tallies[id]
}

// isolate lets entries wait, not claimed yet, for being tried one at a time.
func (f *inflight) isolate(suspects []pendingEntry, now time.Time) {
	if len(suspects) == 0 {
		return
	}
	f.mu.Lock()
	for _, p := range suspects {
		f.waiting[p.id] = retry{attempts: p.deliveries, guard: p.guard, due: now, alone: true}
	}
	f.mu.Unlock()
	signal(f.wake)
}

// retryPause is the wait after the given number of attempts. It stays below the
// time after which another consumer would take the entry for abandoned.
func retryPause(cfg *Config, attempts int) time.Duration {
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
func (f *inflight) postpone(id, mark string, attempts int, now time.Time, pause time.Duration) {
	f.mu.Lock()
	f.release(id, mark)
	known := f.tallies[id]
	known.explained++
	f.tallies[id] = known
	f.waiting[id] = retry{attempts: attempts, guard: pause * 9 / 10, due: now.Add(pause)}
	f.order.wait(id)
	f.mu.Unlock()
	signal(f.wake)
}

// due lists up to limit entries whose time has come, among them one suspect when
// none runs, and when the next one is due (zero: none waits).
func (f *inflight) due(now time.Time, limit int) (ready []pendingEntry, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var suspect string
	for id, r := range f.waiting {
		switch {
		case r.alone:
			if suspect == "" || entry.Compare(id, suspect) < 0 {
				suspect = id
			}
		case !r.due.After(now) && len(ready) < limit:
			ready = append(ready, pendingEntry{id: id, deliveries: r.attempts, guard: r.guard})
		case next.IsZero() || r.due.Before(next):
			next = r.due
		}
	}
	if _, runs := f.running[f.alone]; runs || suspect == "" {
		return ready, next
	}
	f.alone = suspect
	r := f.waiting[suspect]
	return append(ready, pendingEntry{id: suspect, deliveries: r.attempts, guard: r.guard}), next
}
