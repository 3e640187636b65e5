// Package ingest brings what consumers of the bus handle at the same time into a store
// together: Take returns when a message is on the disk, and those that wait meanwhile go
// with the next transaction. It owns no goroutine: whoever comes first writes for all.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/esper-lite/weatherlight/nissa/internal/runs"
)

// Store takes messages in, all or none. Fresh are those that it had not seen before.
type Store interface {
	Put(ctx context.Context, messages []runs.Message) (fresh []bool, err error)
	// Writable returns nil when the store takes something in.
	Writable(ctx context.Context) error
}

// ErrRefused: a message cannot be stored, and it is the message: the store takes others.
var ErrRefused = errors.New("message refused by the store")

const (
	// maxGroup bounds how many messages share one transaction, and maxBytes how much they say.
	maxGroup = 1024
	maxBytes = 4 << 20
	// writeTimeout bounds a transaction in a store that hangs, lookTimeout a look at it.
	writeTimeout = 30 * time.Second
	lookTimeout  = 5 * time.Second
)

// Group writes messages in groups. It is safe for concurrent use.
type Group struct {
	store  Store
	writer chan struct{} // held by whoever writes

	mu      sync.Mutex
	waiting []*part
}

// part is one message that waits.
type part struct {
	message runs.Message
	size    int // in bytes
	done    chan outcome
}

type outcome struct {
	fresh bool
	err   error
}

// New returns a group that writes to a store.
func New(store Store) *Group {
	return &Group{store: store, writer: make(chan struct{}, 1)}
}

// Take returns when the message is in the store, and whether it was not there before. With
// an error it is not, or nobody knows.
func (g *Group) Take(ctx context.Context, m runs.Message) (fresh bool, err error) {
	mine := &part{m, proto.Size(m.Payload) + len(m.Judge), make(chan outcome, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, mine)
	g.mu.Unlock()
	for {
		select {
		case came := <-mine.done:
			return came.fresh, came.err
		case g.writer <- struct{}{}:
			g.write(ctx, g.take())
			<-g.writer
		case <-ctx.Done():
			if g.withdraw(mine) {
				return false, ctx.Err()
			}
			came := <-mine.done // it is being written
			return came.fresh, came.err
		}
	}
}

func (g *Group) take() []*part {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, bytes := 0, 0
	for n < min(len(g.waiting), maxGroup) && (n == 0 || bytes+g.waiting[n].size <= maxBytes) {
		bytes += g.waiting[n].size
		n++
	}
	taken := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	return taken
}

// withdraw is false when a transaction has taken the part already.
func (g *Group) withdraw(p *part) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, waits := range g.waiting {
		if waits == p {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// write writes the parts in one transaction and, when that fails though the store takes
// something in, each in its own: one that cannot be stored must not draw the others in.
func (g *Group) write(ctx context.Context, parts []*part) {
	if len(parts) == 0 {
		return
	}
	// Detached: the transaction is not one handler's.
	ctx = context.WithoutCancel(ctx)
	fresh, err := g.put(ctx, parts)
	if err != nil && g.writable(ctx) {
		if len(parts) > 1 {
			g.writeEach(ctx, parts)
			return
		}
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	for i, p := range parts {
		p.done <- outcome{err == nil && fresh[i], err}
	}
}

// writeEach writes each part by itself, until two in a row fail: then it is rather the store,
// and the rest is not tried.
func (g *Group) writeEach(ctx context.Context, parts []*part) {
	failed := 0
	for i, p := range parts {
		fresh, err := g.put(ctx, parts[i:i+1])
		if failed++; err == nil {
			failed = 0
		}
		if err != nil && g.writable(ctx) {
			p.done <- outcome{err: fmt.Errorf("%w: %w", ErrRefused, err)}
		} else {
			p.done <- outcome{err == nil && fresh[0], err}
		}
		if failed < 2 {
			continue
		}
		for _, rest := range parts[i+1:] {
			rest.done <- outcome{err: fmt.Errorf("not tried: %w", err)}
		}
		return
	}
}

func (g *Group) put(ctx context.Context, parts []*part) (fresh []bool, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic while messages were stored: %v", cause)
		}
	}()
	messages := make([]runs.Message, len(parts))
	for i, p := range parts {
		messages[i] = p.message
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	fresh, err = g.store.Put(ctx, messages)
	if err == nil && len(fresh) != len(parts) {
		err = errors.New("store answered for other messages")
	}
	return fresh, err
}

func (g *Group) writable(ctx context.Context) (is bool) {
	defer func() { is = recover() == nil && is }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return g.store.Writable(ctx) == nil
}
