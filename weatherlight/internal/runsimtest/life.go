package runsimtest

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/esper-lite/weatherlight/leyline"
	"github.com/esper-lite/weatherlight/oona"
	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/telemetry"
	"github.com/esper-lite/weatherlight/weatherlight/internal/control"
)

// fate is what becomes of a process at a step.
type fate int

const (
	lives fate = iota
	diesBefore
	diesAfter
)

// life is one process of an instance, from its start to its death. What it does
// runs in coroutines, of which only one moves at a time.
//
// The rooms of the control engine lock a run while they decide on it, and a
// coroutine that stands still holds its locks. So a life lets a second task in
// only when the ones before it have left Kasmina's half: by Tamiyo's half of a
// report there is one task for each run, as the lanes of the bus have it.
type life struct {
	town  *town
	owner *instance
	room  *control.Room

	dead    bool
	steps   int // until it dies; negative: not by itself
	running *task
	tasks   map[*task]bool
	waiting []*task
}

// task is something that a life does, step by step.
type task struct {
	next    func() (time.Duration, bool)
	stop    func()
	yield   func(time.Duration) bool
	control bool // it has left Kasmina's half
	done    func()
}

func newLife(t *town, owner *instance) *life {
	l := &life{town: t, owner: owner, steps: -1, tasks: make(map[*task]bool)}
	if p := t.crashiness; p > 0 && !t.calm && t.chance(p) {
		l.steps = t.rand.IntN(400)
	}
	p := port{l}
	l.room = control.New(control.Config{
		Core: t.core, Controller: t.controller, Records: p, Awaits: p, Keyring: t.keyring, Now: owner.clock,
		Publish: p.publish, Route: route, Offer: t.audit.offered, KeepReport: p.keepReport,
		Blueprints: tamiyo.Blueprints{Candidates: t.candidates, Permit: func(context.Context, string) error { return nil }},
		TTL:        runLife, Each: inTurn,
	})
	return l
}

// inTurn has one goroutine do it all: those of a simulation take turns.
func inTurn(n int, do func(i int)) {
	for i := range n {
		do(i)
	}
}

// runLife is how long a record outlives its run.
const runLife = 30 * 24 * time.Hour

// route is where a packet travels: which stream matters to nobody here.
func route(packet *leyline.TelemetryPacket) oona.Message {
	return oona.Message{Payload: packet, Priority: telemetry.Priority(packet)}
}

// start lets a life do something, as soon as there is room for it; done is called
// when it has, unless the life ends before.
func (l *life) start(work func(), done func()) {
	t := &task{done: done}
	t.next, t.stop = iter.Pull(func(yield func(time.Duration) bool) {
		t.yield = yield
		work()
	})
	l.waiting = append(l.waiting, t)
	l.admit()
}

// admit takes up what waits, once nobody holds up the first half.
func (l *life) admit() {
	for !l.dead && len(l.waiting) > 0 && !l.occupied() {
		t := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.tasks[t] = true
		l.move(t)
	}
}

func (l *life) occupied() bool {
	for t := range l.tasks {
		if !t.control {
			return true
		}
	}
	return false
}

// move lets a task go to its next step.
func (l *life) move(t *task) {
	if l.dead {
		return
	}
	before := l.running
	l.running = t
	pause, more := t.next()
	l.running = before
	switch {
	case l.dead:
	case more:
		l.town.after(pause, func() { l.move(t) })
		l.admit()
	default:
		delete(l.tasks, t)
		t.done()
		l.admit()
	}
}

// inControl notes that the running task has come to Tamiyo's half.
func (l *life) inControl() { l.running.control = true }

// wait lets others go before the next step; false when the life is over.
func (l *life) wait() bool {
	if l.dead {
		return false
	}
	return l.running.yield(l.town.latency()) && !l.dead
}

// fate decides whether the life ends at this step.
func (l *life) fate() fate {
	if l.steps < 0 || l.town.calm {
		return lives
	}
	l.steps--
	if l.steps >= 0 {
		return lives
	}
	return pick(l.town.world, diesBefore, diesAfter)
}

// die ends a life between two steps. The coroutine that runs now finds out by
// itself.
func (l *life) die() {
	if l.dead {
		return
	}
	l.dead = true
	l.town.counts.Crashes++
	for _, t := range l.waiting {
		t.stop()
	}
	for t := range l.tasks {
		if t != l.running {
			t.stop()
		}
	}
	l.tasks, l.waiting = nil, nil
	l.owner.died()
}

// candidates are the blueprints that the library would serve.
func (t *town) candidates(_ context.Context, _ string, slot []int) ([]tamiyo.Candidate, error) {
	if t.dry {
		return nil, nil
	}
	if !t.calm && t.chance(0.02) {
		return nil, errors.New("simulated trouble of the library")
	}
	return t.library.candidates(slot), nil
}
