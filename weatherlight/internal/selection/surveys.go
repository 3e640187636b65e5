package selection

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/esper-lite/weatherlight/tezzeret"
)

// ErrSurveying says that it is not known yet what can be compiled for a slot: to know it
// means to compile, which is under way.
var ErrSurveying = errors.New("what can be compiled for the slot is being found out")

// surveys finds out what can be compiled for slots, beside those who ask: they have no
// time for it.
type surveys struct {
	surveyor *tezzeret.Surveyor
	ctx      context.Context //nolint:containedctx // a survey outlives who asks for it
	stop     context.CancelFunc

	work sync.WaitGroup
	mu   sync.Mutex
	done map[string]chan struct{} // by slot; closed once it is known
}

// maxSurveys bounds the slots that are remembered, as the surveyor does.
const maxSurveys = 64

func newSurveys(surveyor *tezzeret.Surveyor) surveys {
	// A survey goes on when who asked for it has gone: close ends it.
	ctx, stop := context.WithCancel(context.Background())
	return surveys{surveyor: surveyor, ctx: ctx, stop: stop, done: make(map[string]chan struct{})}
}

func (s *surveys) close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.work.Wait()
}

// begin has a slot surveyed, unless it was, and says when that is done.
func (s *surveys) begin(slot []int) <-chan struct{} {
	name := fmt.Sprint(slot)
	s.mu.Lock()
	defer s.mu.Unlock()
	if done, known := s.done[name]; known {
		return done
	}
	if len(s.done) >= maxSurveys {
		clear(s.done)
	}
	done := make(chan struct{})
	s.done[name] = done
	if s.ctx.Err() != nil { // nothing is begun any more
		close(done)
		return done
	}
	s.work.Go(func() {
		defer close(done)
		_, _ = s.surveyor.Candidates(s.ctx, slot...) // its only error is that it was stopped; who asks is told
	})
	return done
}

// of are the blueprints that can be compiled for a slot. Who reaches a deadline before that
// is known is told ErrSurveying; the survey goes on.
func (s *surveys) of(ctx context.Context, slot []int) ([]tezzeret.Candidate, error) {
	done := s.begin(slot)
	select {
	case <-done:
		return s.surveyor.Candidates(ctx, slot...)
	default:
	}
	select {
	case <-done:
		return s.surveyor.Candidates(ctx, slot...)
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, ErrSurveying
	}
	return nil, ctx.Err()
}
