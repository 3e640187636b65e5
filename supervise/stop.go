package supervise

import (
	"context"
	"slices"
	"time"
)

// interruptGrace is how long an interrupted worker has to return: long enough for one that heeds its context, short
// enough for an operator who pressed the key twice to call it at once.
const interruptGrace = 200 * time.Millisecond

// StopWorker stops one worker: its fetch context ends; after SoftStop its work context ends; after HardStop it is
// abandoned, and the error is an *UnstoppedError. When ctx ends first, both contexts end at once and the rest of the
// wait is a moment. A worker that is unknown or at rest has stopped.
func (s *Supervisor) StopWorker(ctx context.Context, name string) error {
	s.mu.Lock()
	i := s.index(name)
	if i < 0 {
		s.mu.Unlock()
		return nil
	}
	w := s.workers[i]
	s.mu.Unlock()
	if !w.stop(ctx) {
		return &UnstoppedError{Names: []string{name}}
	}
	return nil
}

// Stop stops all workers in reverse start order, each as StopWorker does and only when its successor has settled, so
// that a worker drains into neighbours that are still there. When ctx ends, all that are left are interrupted
// together. The error is an *UnstoppedError with all that were abandoned. It may be called again and at once with
// others; after the first call no worker can be started. OnEvent has seen the stop when Stop returns.
func (s *Supervisor) Stop(ctx context.Context) error {
	workers := s.refuse()
	var abandoned []string
	for _, w := range slices.Backward(workers) {
		if ctx.Err() != nil {
			s.Interrupt()
		}
		if !w.stop(ctx) {
			abandoned = append(abandoned, w.spec.Name)
		}
	}
	s.flush()
	if len(abandoned) == 0 {
		return nil
	}
	slices.Reverse(abandoned)
	return &UnstoppedError{Names: abandoned}
}

// Interrupt is for the second signal: it ends both contexts of all workers at once, and leaves a stop under way with
// only a moment to wait. It does not wait itself. No worker can be started afterwards.
func (s *Supervisor) Interrupt() {
	for _, w := range slices.Backward(s.refuse()) {
		w.hurry(ErrStopped)
	}
}

// refuse lets no new worker in, and returns those there are.
func (s *Supervisor) refuse() []*worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	return s.workers
}

// flush lets the hook see the end, unless the hook itself hangs.
func (s *Supervisor) flush() {
	// The stop's own context may have ended long ago.
	limit, cancel := context.WithTimeout(context.Background(), interruptGrace)
	defer cancel()
	s.events.flush(limit.Done())
}
