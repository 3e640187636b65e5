package oona

import (
	"sync"
	"time"
)

// outcome is what came of one entry, to be committed.
type outcome struct {
	id      string
	mark    string
	life    time.Duration // of the mark
	attempt int
	answers []draft
	refusal *refusal
	started time.Time
}

// plain reports whether acknowledging is all there is to do.
func (o outcome) plain() bool {
	return o.refusal == nil && len(o.answers) == 0 && o.mark == ""
}

// outbox gathers outcomes for the committer: whatever is complete when it comes
// is one commit.
type outbox struct {
	mu     sync.Mutex
	items  []outcome
	closed bool
	wake   chan struct{}
}

func newOutbox() *outbox { return &outbox{wake: make(chan struct{}, 1)} }

func (b *outbox) add(o outcome) {
	b.mu.Lock()
	b.items = append(b.items, o)
	b.mu.Unlock()
	signal(b.wake)
}

// close lets the committer end once it has taken everything.
func (b *outbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	signal(b.wake)
}

// take waits for outcomes and returns all there are. It returns none only when
// the outbox is closed and empty. The slice is the caller's until it passes it
// back as spare.
func (b *outbox) take(spare []outcome) []outcome {
	for {
		b.mu.Lock()
		items, closed := b.items, b.closed
		if len(items) > 0 || closed {
			clear(spare)
			b.items = spare[:0]
			b.mu.Unlock()
			return items
		}
		b.mu.Unlock()
		<-b.wake
	}
}
