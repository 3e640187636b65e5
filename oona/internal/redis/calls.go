package redis

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/internal/cadence"
)

// calls are those of one Conn that nobody waits for longer than their context
// lasts. The client library does wait longer: who needs a connection that another
// caller is making waits for that one's attempt, whatever its own context says,
// and a server that is frozen makes an attempt take seconds.
type calls struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// begin notes a call that begins, unless the Conn is closed.
func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.running.Add(1)
	}
	return !c.closed
}

// refuse lets no further call begin.
func (c *calls) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

// result is what came of a call.
type result[T any] struct {
	value T
	err   error
}

// Call asks the server, and returns what it answered or that ctx is done,
// whichever is first. A call that is left behind ends by itself, or with the
// Conn, whose Close waits for it.
func Call[T any](ctx context.Context, c *Conn, ask func(context.Context) (T, error)) (T, error) {
	var none T
	if !c.calls.begin() {
		return none, ErrClosed
	}
	answered := make(chan result[T], 1)
	go func() {
		defer c.calls.running.Done()
		value, err := ask(ctx)
		answered <- result[T]{value, err}
	}()
	select {
	case r := <-answered:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// dedicated is a connection that one reader has for itself.
type dedicated struct {
	conn  rueidis.DedicatedClient
	id    int64 // of the connection; 0 when the server does not tell
	leave func()
}

// anonymous is for a connection whose id nobody needs.
func anonymous(context.Context, rueidis.DedicatedClient) (int64, error) { return 0, nil }

// dedicate makes a connection ready, within the timeout and for as long as ctx lasts:
// what is ready later is given back.
func dedicate(ctx context.Context, c *Conn, identify func(context.Context, rueidis.DedicatedClient) (int64, error)) (dedicated, error) {
	if !c.calls.begin() {
		return dedicated{}, ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	ready := make(chan result[dedicated])
	go func() {
		defer c.calls.running.Done()
		defer cancel()
		conn, leave := c.Dedicate()
		id, err := identify(ctx, conn)
		if err != nil {
			leave()
		}
		select {
		case ready <- result[dedicated]{dedicated{conn, id, leave}, err}:
		case <-ctx.Done():
			if err == nil {
				leave()
			}
		}
	}()
	select {
	case r := <-ready:
		return r.value, r.err
	case <-ctx.Done():
		return dedicated{}, ctx.Err()
	}
}

// Insist asks what may be asked twice until the server answers, within the
// timeout. A failure is ErrUnavailable or ErrClosed.
func Insist[T any](ctx context.Context, c *Conn, ask func(context.Context) (T, error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for pause := pauseFirst; ; pause *= 2 {
		if c.Closed() {
			var none T
			return none, ErrClosed
		}
		value, err := ask(bounded)
		if err == nil {
			return value, nil
		}
		if answered := IsReply(err) || rueidis.IsParseErr(err); answered || !cadence.Sleep(bounded, pause) {
			return value, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}
