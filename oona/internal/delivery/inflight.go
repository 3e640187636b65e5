package delivery

import (
	"slices"
	"sync"
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
	alone   string               // the suspect that was tried last
	wake    chan struct{}        // the earliest due time may have changed
	order   *ordering            // told when an entry is let go; nil without keys
}

func newInflight() *inflight {
	return &inflight{
		running: make(map[string]time.Time),
		marks:   make(map[string]string),
		waiting: make(map[string]retry),
		tallies: make(map[string]tally),
		wake:    make(chan struct{}, 1),
	}
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

// claimMarks takes the request ids of jobs for them, and refuses those whose id
// another entry in hand has.
func (f *inflight) claimMarks(jobs []*Task) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range jobs {
		if j.Mark == "" {
			continue
		}
		if holder, held := f.marks[j.Mark]; held && holder != j.id {
			j.refuseReplay(holder)
			continue
		}
		f.marks[j.Mark] = j.id
	}
}

// end lets go of an entry, and of its request id if it holds that.
func (f *inflight) end(id, mark string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release(id, mark)
	delete(f.tallies, id)
	f.order.leave(id)
}

// endAll lets go of the entries of a whole commit.
func (f *inflight) endAll(outcomes []outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range outcomes {
		f.release(o.id, o.mark)
		delete(f.tallies, o.id)
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
	delete(f.waiting, id)
	delete(f.tallies, id)
	f.order.leave(id)
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
