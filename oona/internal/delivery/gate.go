package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// probeTimeout bounds one look for what the handlers need.
const probeTimeout = time.Second

// gate knows whether the entries of a consumer can be finished. It is closed while
// something is away that all its handlers need: then nothing is read or handled.
type gate struct {
	needs  func(context.Context) error // nil: nothing that could be asked for
	closed atomic.Bool

	looking sync.Mutex // one look at a time
	seen    time.Time  // when the last one found all there

	mu       sync.Mutex
	since    time.Time
	cause    error
	opened   context.Context //nolint:containedctx // one state of all that is read; done when the gate closes
	end      context.CancelFunc
	reopened chan struct{}    // closed when it opens
	back     map[int][]string // entries to give back, by their attempt

	// What fails while the gate is open: tasks for want of what they need, reads,
	// commits, and the answers of single entries.
	handling, reading, committing, storing failures
}

func newGate(needs func(context.Context) error) *gate {
	g := &gate{needs: needs, back: make(map[int][]string)}
	g.renew()
	return g
}

// renew begins a time in which the gate is open.
func (g *gate) renew() {
	// It ends with close alone; whoever waits for it has a context of its own besides.
	g.opened, g.end = context.WithCancel(context.Background())
}

// ask looks for what the handlers need.
func (g *gate) ask(ctx context.Context) error {
	if g.needs == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return g.needs(ctx)
}

// look asks, unless somebody has just done so, and closes the gate when something is
// away. It returns whether all is there.
func (g *gate) look(ctx context.Context) bool {
	begun := time.Now()
	g.looking.Lock()
	defer g.looking.Unlock()
	if g.closed.Load() || g.seen.After(begun) {
		return !g.closed.Load()
	}
	err := g.ask(ctx)
	if err != nil && ctx.Err() == nil {
		g.close(err)
		return false
	}
	g.seen = time.Now()
	return true
}

func (g *gate) close(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.since, g.cause, g.reopened = time.Now(), cause, make(chan struct{})
	g.closed.Store(true)
	g.end()
}

// shut is since when the gate is closed, and why.
func (g *gate) shut() (time.Time, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.since, g.cause
}

// open returns what was refused at last.
func (g *gate) open() map[int][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	back := g.takeBack()
	g.renew()
	g.cause = nil
	g.closed.Store(false)
	close(g.reopened)
	return back
}

// whileOpen is a context that ends with ctx, and when the gate closes.
func (g *gate) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(opened, cancel)
	return both, func() { stop(); cancel() }
}

// pass waits until the gate is open, or ctx is done: then it returns false.
func (g *gate) pass(ctx context.Context) bool {
	for g.closed.Load() {
		g.mu.Lock()
		reopened := g.reopened
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-reopened:
		}
	}
	return true
}

// refuse notes an entry that is to be given back, unless the gate is open again.
func (g *gate) refuse(id string, attempt int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed.Load() {
		return false
	}
	g.back[attempt] = append(g.back[attempt], id)
	return true
}

// refused are the entries to give back, each once.
func (g *gate) refused() map[int][]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.takeBack()
}

func (g *gate) takeBack() map[int][]string {
	back := g.back
	g.back = make(map[int][]string)
	return back
}

// quiet is how long there is no failure before the next one is told again.
const quiet = time.Minute

// lasts is how many failures in a row are no chance any more.
const lasts = 3

// failures are those of one kind in a row. The zero value is usable.
type failures struct {
	some atomic.Bool

	mu    sync.Mutex
	row   int
	since time.Time // of the first in the row
	last  time.Time
	cause error
}

// add notes a failure, and returns whether it is to be told: it is the first for a while.
func (f *failures) add(cause error, now time.Time) (tell bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.row == 0 {
		f.since = now
	}
	tell = f.last.IsZero() || now.Sub(f.last) > quiet
	f.row++
	f.last, f.cause = now, cause
	f.some.Store(true)
	return tell
}

// over notes a success. It costs next to nothing where nothing fails.
func (f *failures) over() {
	if !f.some.Load() {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.row = 0
	f.some.Store(false)
}

// lasting is since when there are so many that it is no chance, and why; nil when not.
func (f *failures) lasting() (time.Time, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.row < lasts {
		return time.Time{}, nil
	}
	return f.since, f.cause
}

// Ways in which the entries of a subscription are not finished.
const (
	StallNeeds   = "needs"   // what the handlers need is away
	StallAnswers = "answers" // what came of entries cannot be committed
	StallReading = "reading" // the stream cannot be read
)

// Stall says that the entries of a subscription are not finished.
type Stall struct {
	Stream, Group string
	Kind          string
	Since         time.Time
	Cause         string
}

// stalls are the ways in which nothing is finished any more.
func (s *consumer) stalls() []Stall {
	var found []Stall
	note := func(kind string, since time.Time, cause error) {
		found = append(found, Stall{Stream: s.sub.Stream, Group: s.sub.Group, Kind: kind, Since: since, Cause: cause.Error()})
	}
	if since, cause := s.gate.shut(); cause != nil {
		note(StallNeeds, since, cause)
	}
	type kind struct {
		name string
		of   *failures
	}
	kinds := []kind{{StallAnswers, &s.gate.committing}, {StallReading, &s.gate.reading}}
	if s.inflight.sufferers() > 0 { // otherwise they are finished, or another consumer's
		kinds = append(kinds, kind{StallNeeds, &s.gate.handling}, kind{StallAnswers, &s.gate.storing})
	}
	for _, k := range kinds {
		if since, cause := k.of.lasting(); cause != nil {
			note(k.name, since, cause)
		}
	}
	return found
}
