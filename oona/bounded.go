package oona

import (
	"context"
	"sync"
)

// questions are the calls of one client that nobody waits for longer than their
// context lasts. The client library does wait longer: who needs a connection that
// another caller is making waits for that one's attempt, whatever its own context
// says, and a server that is frozen makes an attempt take seconds.
type questions struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// begin notes a question that begins, unless the client is closed.
func (q *questions) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		q.running.Add(1)
	}
	return !q.closed
}

// refuse lets no further question begin.
func (q *questions) refuse() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

// settled is what came of a question.
type settled[T any] struct {
	value T
	err   error
}

// bounded asks the bus, and returns what it answered or that ctx is done,
// whichever is first. A question that is left behind ends by itself, or with the
// client, whose Close waits for it.
func bounded[T any](ctx context.Context, q *questions, question func(context.Context) (T, error)) (T, error) {
	var none T
	if !q.begin() {
		return none, ErrClosed
	}
	answered := make(chan settled[T], 1)
	go func() {
		defer q.running.Done()
		value, err := question(ctx)
		answered <- settled[T]{value, err}
	}()
	select {
	case r := <-answered:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
