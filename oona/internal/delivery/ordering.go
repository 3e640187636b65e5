package delivery

import (
	"context"
	"slices"
	"sync"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// heldBack bounds the deliveries that wait for an earlier one of their key:
// beyond it nothing new is read.
const heldBack = 1000

// ordering keeps the tasks of one key in order: a lane has one entry in hand,
// until that is committed or given up, and the later ones behind it.
type ordering struct {
	mu      sync.Mutex
	byKey   map[string]*lane
	holders map[string]string // entry in hand -> its key
	ready   []*Task           // may run now
	held    int               // behind an entry in hand, or ready
	closing bool
	wake    chan struct{} // there may be something ready, or nothing left
	room    chan struct{} // fewer are held back
}

type lane struct {
	holder  string
	waiting bool // the holder waits for its next attempt
	behind  []*Task
}

func newOrdering() *ordering {
	return &ordering{byKey: make(map[string]*lane), holders: make(map[string]string),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// enter returns the jobs that may run now and holds back the others.
func (l *ordering) enter(jobs []*Task) []*Task {
	if l == nil {
		return jobs
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(jobs, func(t *Task) bool { return t.Key != "" && !l.admit(t) })
}

func (l *ordering) admit(t *Task) bool {
	way := l.byKey[t.Key]
	switch {
	case way == nil:
		l.byKey[t.Key] = &lane{holder: t.id}
		l.holders[t.id] = t.Key
		return true
	case way.holder == t.id:
		way.waiting = false
		return true
	default:
		at, _ := slices.BinarySearchFunc(way.behind, t, func(a, b *Task) int { return entry.Compare(a.id, b.id) })
		way.behind = slices.Insert(way.behind, at, t)
		l.held++
		return false
	}
}

// leave ends the turn of an entry: the next of its key may run.
func (l *ordering) leave(id string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key, holds := l.holders[id]
	if !holds {
		return
	}
	delete(l.holders, id)
	way := l.byKey[key]
	if len(way.behind) == 0 {
		delete(l.byKey, key)
		return
	}
	next := way.behind[0]
	way.behind = way.behind[1:]
	way.holder, way.waiting = next.id, false
	l.holders[next.id] = key
	l.ready = append(l.ready, next)
	signal(l.wake)
}

// wait notes that an entry in hand waits for its next attempt.
func (l *ordering) wait(id string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if key, holds := l.holders[id]; holds {
		l.byKey[key].waiting = true
		l.shed()
	}
}

// close lets go of what waits behind a retry: nothing is tried again any more,
// and what was held back stays pending.
func (l *ordering) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	l.shed()
}

// shed drops, once closing, what is behind entries that will not be tried again.
func (l *ordering) shed() {
	if !l.closing {
		return
	}
	for _, way := range l.byKey {
		if way.waiting {
			l.held -= len(way.behind)
			way.behind = nil
		}
	}
	signal(l.wake)
}

// abandon drops everything that is held back: what is before it stays pending.
func (l *ordering) abandon() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.byKey)
	clear(l.holders)
	l.ready, l.held = nil, 0
	signal(l.wake)
}

// next waits for jobs that may run. It returns none when work is done, or the
// ordering is closed and empty.
func (l *ordering) next(work context.Context) []*Task {
	for {
		l.mu.Lock()
		jobs, over := l.ready, l.closing && l.held == 0
		l.ready = nil
		l.held -= len(jobs)
		l.mu.Unlock()
		if len(jobs) > 0 || over || work.Err() != nil {
			signal(l.room)
			return jobs
		}
		select {
		case <-l.wake:
		case <-work.Done():
		}
	}
}

// awaitRoom holds up the reader while too much is held back.
func (l *ordering) awaitRoom(fetch context.Context) {
	for l != nil && fetch.Err() == nil {
		l.mu.Lock()
		full := l.held >= heldBack
		l.mu.Unlock()
		if !full {
			return
		}
		select {
		case <-l.room:
		case <-fetch.Done():
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// dispatchReady queues jobs as their turn comes.
func (s *consumer) dispatchReady(work context.Context) {
	for jobs := s.order.next(work); len(jobs) > 0 && work.Err() == nil; jobs = s.order.next(work) {
		s.dispatch(work, jobs)
	}
}
