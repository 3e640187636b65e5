package selection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/tamiyo"
)

// ErrUnderWay says that it is not known yet what fits a slot: to know it means to compile,
// which is under way.
var ErrUnderWay = errors.New("what fits the slot is being found out")

const (
	// prepareEvery is how often a list that nobody asks for is made anew.
	prepareEvery = 10 * time.Second
	// standIn is how long a list may stand in for one that is not made in time. What was
	// withheld meanwhile, the library does not hand out; what was judged meanwhile, Permit sees.
	standIn = time.Minute
	// maxLists bounds the slots that are remembered.
	maxLists = 64
)

// lists are the candidates for slots, made beside those who ask: they have no time for it.
type lists struct {
	find func(ctx context.Context, slot []int) ([]tamiyo.Candidate, error)
	ctx  context.Context //nolint:containedctx // what is begun outlives who asks for it
	stop context.CancelFunc

	work sync.WaitGroup
	mu   sync.Mutex
	of   map[string]*list // by slot
}

// list is what is known of one slot.
type list struct {
	making chan struct{} // closed when the one under way is made; nil: none is

	made       time.Time // the last one; zero: none yet
	candidates []tamiyo.Candidate
	err        error
}

func newLists(find func(context.Context, []int) ([]tamiyo.Candidate, error)) *lists {
	// What was begun goes on when who asked for it has gone: close ends it.
	ctx, stop := context.WithCancel(context.Background())
	return &lists{find: find, ctx: ctx, stop: stop, of: make(map[string]*list)}
}

func (l *lists) close() {
	l.mu.Lock()
	l.stop()
	l.mu.Unlock()
	l.work.Wait()
}

// make has the list of a slot made, unless that is under way, or the last one is younger
// than least.
func (l *lists) make(slot []int, least time.Duration) (known *list, done <-chan struct{}) {
	name := fmt.Sprint(slot)
	l.mu.Lock()
	defer l.mu.Unlock()
	known = l.of[name]
	if known == nil {
		if len(l.of) >= maxLists {
			clear(l.of)
		}
		known = &list{}
		l.of[name] = known
	}
	if known.making != nil {
		return known, known.making
	}
	making := make(chan struct{})
	if l.ctx.Err() != nil || least > 0 && time.Since(known.made) < least {
		close(making) // nothing is begun
		return known, making
	}
	known.making = making
	l.work.Go(func() {
		candidates, err := l.find(l.ctx, slot)
		l.mu.Lock()
		defer l.mu.Unlock()
		known.making, known.made, known.candidates, known.err = nil, time.Now(), candidates, err
		close(making)
	})
	return known, making
}

// get is the list of a slot. At a deadline the last one stands in; without one, who asks is
// told ErrUnderWay when there was none yet.
func (l *lists) get(ctx context.Context, slot []int) ([]tamiyo.Candidate, error) {
	known, done := l.make(slot, 0)
	late := false
	select {
	case <-done:
	case <-ctx.Done():
		late = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx.Err() != nil:
		return nil, l.ctx.Err()
	case !late || known.making == nil:
		return known.candidates, known.err
	case !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, ctx.Err()
	case known.made.IsZero():
		return nil, ErrUnderWay
	case known.err == nil && time.Since(known.made) < standIn:
		return known.candidates, nil
	default:
		return nil, fmt.Errorf("look for blueprints that fit a slot of %v: %w", slot, ctx.Err())
	}
}
