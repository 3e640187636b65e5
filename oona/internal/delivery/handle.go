package delivery

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/esper-lite/weatherlight/internal/cadence"
	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

// fencePause is the pause between two questions to a fence that lets nobody through.
const fencePause = 100 * time.Millisecond

// queue is what waits for the workers.
type queue struct {
	loads chan *workload
	room  *semaphore.Weighted // for bytes of entries that are queued or handled
}

func newQueue(workers int) queue {
	return queue{make(chan *workload, workers), semaphore.NewWeighted(handledBytes)}
}

// offer queues jobs for as many workers as can be of use. Once work is done, what nobody
// has begun stays pending.
func (q queue) offer(work context.Context, jobs []*Task) {
	l := &workload{jobs: jobs, room: q.room}
	for _, t := range jobs {
		l.bytes += t.bytes
	}
	l.bytes = min(l.bytes, handledBytes)
	if len(jobs) == 0 || q.room.Acquire(work, l.bytes) != nil {
		return
	}
	for range min(len(jobs), cap(q.loads)) {
		select {
		case q.loads <- l:
		case <-work.Done():
			return
		}
	}
}

// workload is the jobs of one batch, shared by the workers: each takes the next one
// when it is free, so that a slow handler holds up nothing but itself.
type workload struct {
	jobs        []*Task
	bytes       int64 // that its entries count for in room
	room        *semaphore.Weighted
	taken, done atomic.Int64
}

// ended makes room for other entries with the last of its jobs.
func (l *workload) ended() {
	if int(l.done.Add(1)) == len(l.jobs) {
		l.room.Release(l.bytes)
	}
}

func (l *workload) next() *Task {
	if i := int(l.taken.Add(1)) - 1; i < len(l.jobs) {
		return l.jobs[i]
	}
	return nil
}

// Hand is an entry whose task runs.
type Hand struct {
	Stream, Group string
	Entry         string
	Since         time.Time
}

// handleAll runs handlers until the queue is closed. Once work is done, what is
// left stays pending.
func (s *consumer) handleAll(work context.Context, hand *hand) {
	for l := range s.queue.loads {
		for t := l.next(); t != nil; t = l.next() {
			switch {
			case awaitFence(work, s.sub.Fence) != nil:
				s.drop(t)
			case s.gate.closed.Load():
				s.bounce(t)
			default:
				t.begun = time.Now()
				hand.task.Store(t)
				s.handle(work, hand, t)
				hand.task.Store(nil)
			}
			l.ended()
		}
	}
}

// awaitFence waits until a fence lets work be done, or work is over.
func awaitFence(work context.Context, fence func(context.Context) error) error {
	for work.Err() == nil && fence(work) != nil {
		cadence.Sleep(work, fencePause)
	}
	return work.Err()
}

func (s *consumer) handle(work context.Context, hand *hand, t *Task) {
	answers, err := call(work, t)
	if err != nil {
		s.fail(work, t, err)
		return
	}
	s.gate.handling.over()
	hand.succeeded.Add(1)
	o := t.outcome()
	o.answers = answers
	s.batcher.finish(o)
}

// call runs one task; a panic becomes its error.
func call(work context.Context, t *Task) (answers []envelope.Draft, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("handler panicked: %v\n%s", cause, debug.Stack())
		}
	}()
	return t.Work.Run(work)
}

// Permanent marks an error of a task as one that no retry can cure: the entry is
// dead-lettered at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func isPermanent(err error) bool {
	var permanent *permanentError
	return errors.As(err, &permanent)
}

// fail decides what a handler error means: later, never, when what it needs is there,
// or, when the handlers are being stopped, nothing at all.
func (s *consumer) fail(work context.Context, t *Task, err error) {
	attempt := t.attempt
	if !isOutage(err) {
		s.gate.handling.over() // it had what it needs
	}
	switch {
	case isPermanent(err):
		t.Refusal = deadletter.Refuse(deadletter.ReasonPermanent, err.Error(), attempt)
		s.batcher.finish(t.outcome())
	case work.Err() != nil && errors.Is(err, work.Err()):
		s.drop(t)
	case isOutage(err):
		s.suffer(work, t, err)
	default:
		s.retry(t, err)
	}
}

// retry sets the time of the next attempt, or gives up when all were spent.
func (s *consumer) retry(t *Task, err error) {
	failed := s.inflight.fails(t.id)
	if failed >= s.c.RetryAttempts {
		t.Refusal = deadletter.Refuse(deadletter.ReasonExhausted, err.Error(), t.attempt)
		s.batcher.finish(t.outcome())
		return
	}
	s.c.Counters.Retried.Add(1)
	s.inflight.postpone(t.id, t.Mark, retry{attempts: t.attempt}, time.Now(), retryPause(&s.c.Config, failed))
	s.batcher.drop()
}

// drop lets go of a delivery that stays pending.
func (s *consumer) drop(t *Task) {
	s.inflight.end(t.id, t.Mark)
	s.batcher.drop()
}
