package graft

import (
	"context"
	"fmt"
)

// Await waits until every order up to a number has arrived and has its kernel, so
// that the next Apply carries it out, or until ctx is done. It is for a training
// loop that has to be repeatable, as that of a test; any other does not wait.
func (g *Graft) Await(ctx context.Context, number uint64) error {
	for {
		settled, moved := g.inbox.settled(number)
		if settled {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("graft: order %d has not arrived: %w", number, ctx.Err())
		}
	}
}

func (b *inbox) settled(number uint64) (bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	waits := b.arrived < number
	for fetched := range b.fetching {
		waits = waits || fetched <= number
	}
	return !waits, b.moved
}

// arrive notes that an order stands where it goes next.
func (b *inbox) arrive(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived = max(b.arrived, number)
	b.move()
}

// fetched notes that the kernel of an attach order is there, or never will be.
func (b *inbox) fetched(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.fetching, number)
	b.move()
}

// move wakes whoever waits. The caller holds the lock.
func (b *inbox) move() {
	close(b.moved)
	b.moved = make(chan struct{})
}
