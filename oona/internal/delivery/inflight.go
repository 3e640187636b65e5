package delivery

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// inflight knows every entry this consumer has in hand: running, waiting to be
// committed, or waiting for its next attempt. What is in hand is never taken
// in a second time.
type inflight struct {
	mu      sync.Mutex
	running map[string]time.Time // entry id -> since when
	marks   map[string]string    // request mark -> the entry that is being handled for it
	waiting map[string]retry     // entry id -> its next attempt
	tallies map[string]tally     // entry id -> its earlier attempts in this process
	waits   int                  // tallies of entries that wait for what is away
	alone   string               // the suspect that was tried last
	wake    chan struct{}        // the earliest due time may have changed
	order   *ordering            // told when an entry is let go; nil without keys
	hands   []hand               // of each worker
}

// hand is what one worker writes for each task.
type hand struct {
	task      atomic.Pointer[Task] // that it runs
	succeeded atomic.Int64         // tasks
	_         [48]byte             // a line of the processor's cache, which others write to beside
}

func newInflight(workers int) *inflight {
	return &inflight{
		hands:   make([]hand, workers),
		running: make(map[string]time.Time),
		marks:   make(map[string]string),
		waiting: make(map[string]retry),
		tallies: make(map[string]tally),
		wake:    make(chan struct{}, 1),
	}
}

// oldest is the task that runs for the longest time, nil when none does.
func (f *inflight) oldest() (oldest *Task) {
	for i := range f.hands {
		if t := f.hands[i].task.Load(); t != nil && (oldest == nil || t.begun.Before(oldest.begun)) {
			oldest = t
		}
	}
	return oldest
}

// succeeded is how many tasks did.
func (f *inflight) succeeded() (tasks int64) {
	for i := range f.hands {
		tasks += f.hands[i].succeeded.Load()
	}
	return tasks
}

// begin takes entries in hand and returns them without those that already are:
// read or claimed a second time.
func (f *inflight) begin(entries []entry.Entry, now time.Time) []entry.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(entries, func(e entry.Entry) bool {
		if _, running := f.running[e.ID]; running {
			return true
		}
		delete(f.waiting, e.ID)
		f.running[e.ID] = now
		return false
	})
}

// leavePending lets go of entries that were not taken in: they are found again.
func (f *inflight) leavePending(entries []entry.Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range entries {
		delete(f.running, e.ID)
	}
}

// claimMarks takes the request ids of jobs for them, and refuses those whose id
// another entry in hand has.
func (f *inflight) claimMarks(jobs []*Task) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range jobs {
		if t.Mark == "" {
			continue
		}
		if holder, held := f.marks[t.Mark]; held && holder != t.id {
			t.refuseReplay(holder)
			continue
		}
		f.marks[t.Mark] = t.id
	}
}

// end lets go of an entry, and of its request id if it holds that.
func (f *inflight) end(id, mark string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release(id, mark)
	f.forgive(id)
	f.order.leave(id)
}

// endAll lets go of the entries of a whole commit.
func (f *inflight) endAll(outcomes []outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range outcomes {
		f.release(o.id, o.mark)
		f.forgive(o.id)
		f.order.leave(o.id)
	}
}

func (f *inflight) release(id, mark string) {
	delete(f.running, id)
	if id == f.alone {
		signal(f.wake) // for the next suspect
	}
	if mark != "" && f.marks[mark] == id {
		delete(f.marks, mark)
	}
}

// again lets an entry that turned out to be ours already be claimed at once, with
// the idle time that was just seen as its guard: it can only be longer by then,
// unless another consumer takes it meanwhile.
func (f *inflight) again(p pendingEntry, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if next, waits := f.waiting[p.id]; waits {
		next.attempts, next.guard, next.due = p.deliveries, p.idle, now
		f.waiting[p.id] = next
	}
}

// forget drops an entry whose retry found that it is gone, or another's.
func (f *inflight) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave(id)
}

// leaveAll lets go of all entries that wait for their next attempt.
func (f *inflight) leaveAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.waiting {
		f.leave(id)
	}
}

func (f *inflight) leave(id string) {
	delete(f.waiting, id)
	f.forgive(id)
	f.order.leave(id)
}

// forgive forgets the earlier attempts of an entry.
func (f *inflight) forgive(id string) {
	if f.tallies[id].outages > 0 {
		f.waits--
	}
	delete(f.tallies, id)
}

// idle reports whether nothing is being handled or committed.
func (f *inflight) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.running) == 0
}

// known reports whether an entry is in hand in any way.
func (f *inflight) known(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, running := f.running[id]
	_, waiting := f.waiting[id]
	return running || waiting
}

// olderThan lists the entries in hand since before a time.
func (f *inflight) olderThan(limit time.Time) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var ids []string
	for id, since := range f.running {
		if since.Before(limit) {
			ids = append(ids, id)
		}
	}
	return ids
}

const retryPauseMax = 30 * time.Second

// retry is one entry waiting, still pending in Redis, for its next attempt.
type retry struct {
	attempts int           // deliveries so far
	count    int           // that the next one is to count as; 0: one more
	guard    time.Duration // it must have been idle for so long
	due      time.Time
	alone    bool // suspected of killing its process: see isolate
}

// tally is what this process knows of the earlier deliveries of an entry.
type tally struct {
	failures int       // its handler returned an error, or panicked
	outages  int       // what it needs was away, or its answers could not be stored
	since    time.Time // of the first of these
	others   int64     // tasks that had succeeded when its own met the last one
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
	return unexplained-s.inflight.failures(e.ID) >= crashFactor*s.c.RetryAttempts
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

func (f *inflight) failures(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tallies[id].failures
}

// suffers counts an outage that an entry met, of whatever kind, and returns how many
// there were.
func (f *inflight) suffers(id string, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.tallies[id]
	if known.outages++; known.outages == 1 {
		f.waits++
		known.since = now
	}
	known.others = f.succeeded()
	f.tallies[id] = known
	return known.outages
}

// suffersAlone reports whether the outage that an entry meets now, one of a row that has lasted
// for longer than sufferMax, is its own: of succeeded tasks there are more than when it
// met the one before.
func (f *inflight) suffersAlone(id string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	known, succeeded := f.tallies[id], f.succeeded()
	if known.outages == 0 || now.Sub(known.since) <= sufferMax || succeeded <= known.others {
		return false
	}
	known.others = succeeded
	f.tallies[id] = known
	return true
}

// sufferers is how many entries wait for what is away.
func (f *inflight) sufferers() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waits
}

// crowded reports whether so many wait for what is away that those to come would wait,
// too.
func (f *inflight) crowded(batch int) bool { return f.sufferers() >= batch }

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
func (f *inflight) postpone(id, mark string, next retry, now time.Time, pause time.Duration) {
	next.guard, next.due = pause*9/10, now.Add(pause)
	f.mu.Lock()
	f.release(id, mark)
	f.waiting[id] = next
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
			ready = append(ready, pendingEntry{id: id, deliveries: r.attempts, count: r.count, guard: r.guard})
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
