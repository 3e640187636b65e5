package selection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo"
	"github.com/esper-lite/weatherlight/tezzeret"
)

// errUnderWay says that it is not known yet what fits a slot: to know it means to compile,
// which is under way, or waits for its turn.
var errUnderWay = errors.New("what fits the slot is being found out")

const (
	// prepareEvery is how often a list that nobody asks for is made anew.
	prepareEvery = 10 * time.Second
	// standIn is how long a list may stand in for one that is not made in time. What was
	// withheld meanwhile, the library does not hand out; what was judged meanwhile, Permit sees.
	standIn = time.Minute
	// spareShare is of what is left of a step the share that a list is waited for when another
	// can stand in for it, or when it is the first: policies are asked in the rest, and the other slots.
	spareShare = 4
	noBound    = math.MaxInt64
	// maxLists bounds the shapes that are remembered: four of its own for each of a thousand
	// runs. A list takes some 10 KiB.
	maxLists = 4096
	// maxOwnLists bounds those of them that one run alone uses. A report has no more slots.
	maxOwnLists = 64
	// maxSurveys bounds the surveys that wait or are made for one run: one whose shapes are
	// new each time takes its turn with the others.
	maxSurveys = 2

	// maxSurveyors bounds the surveys at a time, each of which takes a core, for large shapes
	// for a second and more, and up to 100 MiB.
	maxSurveyors = 2
	// Lists that are made anew mostly wait for the library.
	listers = 8
)

// makers are who makes lists, each at a time of its own.
type makers struct {
	survey func(ctx context.Context, slot []int) ([]tezzeret.Candidate, error)
	find   func(ctx context.Context, slot []int, surveyed []tezzeret.Candidate) ([]tamiyo.Candidate, error)
}

// lists are the candidates for slots, made beside those who ask: they have no time for it.
// One that was not used for longest makes room for another.
type lists struct {
	makers
	ctx  context.Context //nolint:containedctx // what is begun outlives who asks for it
	stop context.CancelFunc

	work  sync.WaitGroup
	mu    sync.Mutex
	of    map[string]*shapeList // by shape
	uses  uint64
	asked map[string]int // surveys that wait or are made, by run
	anew  queue          // shapes that are to be surveyed
	again queue          // lists that are to be made anew
	idle  chan struct{}  // closed: nothing is begun that could be waited for
}

// shapeList is what is known of one shape.
type shapeList struct {
	name   string
	slot   []int
	run    string        // that alone uses it; empty: several do
	asker  string        // the run that its survey was begun for
	used   uint64        // the higher, the later
	making chan struct{} // closed when the one under way is made; nil: none is
	begun  time.Time     // the one under way, or the last one

	surveyed   []tezzeret.Candidate
	known      bool          // it was surveyed
	made       time.Time     // the last one; zero: none yet
	took       time.Duration // to make it anew; 0: it was the first
	candidates []tamiyo.Candidate
	err        error
}

func newLists(makers makers) *lists {
	// What was begun goes on when who asked for it has gone: close ends it.
	ctx, stop := context.WithCancel(context.Background())
	l := &lists{
		makers: makers, ctx: ctx, stop: stop, of: make(map[string]*shapeList), asked: make(map[string]int),
		anew: queue{room: surveyors()}, again: queue{room: listers}, idle: make(chan struct{}),
	}
	close(l.idle)
	return l
}

// surveyors leaves at least half of the cores to whoever decides on runs in time.
func surveyors() int { return min(max(runtime.GOMAXPROCS(0)/2, 1), maxSurveyors) }

func (l *lists) close() {
	l.mu.Lock()
	l.stop()
	l.mu.Unlock()
	l.work.Wait()
}

// make has the list of a slot made, unless that is under way, or the last one is younger
// than least. It knows nothing of the slot, and begins nothing, when there is no room for it.
func (l *lists) make(run string, slot []int, least time.Duration) (known *shapeList, done <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known = l.use(run, slot); known == nil {
		return nil, nil
	}
	if known.making != nil {
		return known, known.making
	}
	if l.ctx.Err() != nil || least > 0 && time.Since(known.made) < least || !known.known && l.asked[run] >= maxSurveys {
		return known, l.idle
	}
	known.making, known.begun = make(chan struct{}), time.Now()
	if known.known {
		l.begin(&l.again, known)
		return known, known.making
	}
	known.asker = run
	l.asked[run]++
	l.begin(&l.anew, known)
	return known, known.making
}

// use is what is known of a slot, from now on also by this run.
func (l *lists) use(run string, slot []int) *shapeList {
	name := fmt.Sprint(slot)
	l.uses++
	if found, known := l.of[name]; known {
		found.used = l.uses
		if found.run != run {
			found.run = ""
		}
		return found
	}
	switch {
	case l.asked[run] >= maxSurveys,
		l.own(run) >= maxOwnLists && !l.forget(func(k *shapeList) bool { return k.run == run }),
		len(l.of) >= maxLists && !l.forget(func(*shapeList) bool { return true }):
		return nil
	}
	added := &shapeList{name: name, slot: slot, run: run, used: l.uses}
	l.of[name] = added
	return added
}

// own is how many lists only this run uses.
func (l *lists) own(run string) (count int) {
	for _, known := range l.of {
		if known.run == run {
			count++
		}
	}
	return count
}

// forget drops the list that was not used for longest of those that may go.
func (l *lists) forget(may func(*shapeList) bool) bool {
	var oldest *shapeList
	for _, known := range l.of {
		if known.making == nil && may(known) && (oldest == nil || known.used < oldest.used) {
			oldest = known
		}
	}
	if oldest == nil {
		return false
	}
	delete(l.of, oldest.name)
	return true
}

// get is the list of a slot. The last one stands in for one that takes too long; without it,
// who asks is told errUnderWay after a share of the step when there was none yet.
func (l *lists) get(ctx context.Context, run string, slot []int) ([]tamiyo.Candidate, error) {
	known, done := l.make(run, slot, 0)
	if known == nil {
		return nil, errUnderWay
	}
	last, stands, spare := l.last(ctx, known)
	late := !wait(ctx, done, spare)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx.Err() != nil:
		return nil, l.ctx.Err()
	case known.made.IsZero() && known.making == nil: // it was not its turn
		return nil, errUnderWay
	case !late || known.making == nil:
		return known.candidates, known.err
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, ctx.Err()
	case stands:
		return last, nil
	case known.made.IsZero():
		return nil, errUnderWay
	case ctx.Err() == nil: // it was made as the wait ended, and is being made anew
		return known.candidates, known.err
	default:
		return nil, fmt.Errorf("look for blueprints that fit a slot of %v: %w", slot, ctx.Err())
	}
}

// last is the list that stands in for the one that is being made, if there is one, and how
// long that is waited for.
func (l *lists) last(ctx context.Context, known *shapeList) (last []tamiyo.Candidate, stands bool, spare time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	deadline, bounded := ctx.Deadline()
	if bounded && known.made.IsZero() { // the slots behind it may be known, and a policy is asked about them
		return nil, false, time.Until(deadline) / spareShare
	}
	if !bounded || known.err != nil || time.Since(known.made) >= standIn {
		return nil, false, noBound
	}
	if spare = time.Until(deadline) / spareShare; known.took > spare {
		spare = 0
	}
	return known.candidates, true, spare
}

// wait says whether a list was made in time.
func wait(ctx context.Context, done <-chan struct{}, spare time.Duration) bool {
	timer := time.NewTimer(max(spare, 0))
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}
