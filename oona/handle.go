package oona

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

// workload is the jobs of one batch, shared by the workers: each takes the next one
// when it is free, so that a slow handler holds up nothing but itself.
type workload struct {
	jobs  []*job
	taken atomic.Int64
}

func (l *workload) next() *job {
	if i := int(l.taken.Add(1)) - 1; i < len(l.jobs) {
		return l.jobs[i]
	}
	return nil
}

// handleAll runs handlers until the queue is closed. Once work is done, what is
// left stays pending.
func (s *consumer) handleAll(work context.Context) {
	for l := range s.jobs {
		for j := l.next(); j != nil; j = l.next() {
			if work.Err() != nil {
				s.drop(j)
				continue
			}
			s.handle(work, j)
		}
	}
}

func (s *consumer) handle(work context.Context, j *job) {
	messages, err := call(work, j)
	var answers []envelope.Draft
	if err == nil {
		answers, err = s.drafts(messages)
	}
	if err != nil {
		s.fail(work, j, err)
		return
	}
	o := j.outcome()
	o.answers = answers
	s.outbox.finish(o)
}

// call runs one handler; a panic becomes its error.
func call(work context.Context, j *job) (messages []Message, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("handler panicked: %v\n%s", cause, debug.Stack())
		}
	}()
	return j.handler(work, j.delivery)
}

// drafts encodes the answers of a handler. An answer that can never be sent
// would fail the same way on each retry.
func (s *consumer) drafts(messages []Message) ([]envelope.Draft, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	now := time.Now()
	drafts := make([]envelope.Draft, len(messages))
	room := envelope.Slab{Left: len(messages)}
	for i, m := range messages {
		m = s.c.addressed(m)
		draft, err := s.c.sealer.Seal(m.content(), now, &room)
		if err != nil {
			return nil, Permanent(fmt.Errorf("answer for %s: %w", m.Stream, err))
		}
		drafts[i] = draft
	}
	return drafts, nil
}

// fail decides what a handler error means: later, never, or, when the handlers
// are being stopped, nothing at all.
func (s *consumer) fail(work context.Context, j *job, err error) {
	attempt := j.delivery.Attempt
	switch {
	case isPermanent(err):
		j.refusal = deadletter.Refuse(deadletter.ReasonPermanent, err.Error(), attempt)
		s.outbox.finish(j.outcome())
	case work.Err() != nil && errors.Is(err, work.Err()):
		s.drop(j)
	case s.flights.fails(j.id) >= s.c.cfg.RetryAttempts:
		j.refusal = deadletter.Refuse(deadletter.ReasonExhausted, err.Error(), attempt)
		s.outbox.finish(j.outcome())
	default:
		s.postpone(j.id, j.mark, attempt)
		s.outbox.drop()
	}
}

// drop lets go of a delivery that stays pending.
func (s *consumer) drop(j *job) {
	s.flights.end(j.id, j.mark)
	s.outbox.drop()
}

// postpone leaves an entry pending and sets the time of its next attempt.
func (s *consumer) postpone(id, mark string, attempt int) {
	s.c.meters.Retried.Add(1)
	tries := 1 + s.flights.tallyOf(id).explained
	s.flights.postpone(id, mark, attempt, time.Now(), retryPause(s.c.cfg, tries))
}
