package delivery

import (
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/oona/deadletter"
	"github.com/esper-lite/weatherlight/oona/internal/envelope"
)

// outcome is what came of one entry, to be committed.
type outcome struct {
	id      string
	mark    string
	attempt int
	answers []envelope.Draft
	refusal *deadletter.Refusal
	stored  time.Time
	started time.Time
}

// plain reports whether acknowledging is all there is to do.
func (o *outcome) plain() bool {
	return o.refusal == nil && len(o.answers) == 0 && o.mark == ""
}

// gatherTime is how long a finished outcome waits for those of the deliveries
// that are being handled beside it: one commit of many costs Redis and this
// process far less than many commits.
const gatherTime = time.Millisecond

// batcher gathers outcomes for the committer: one commit is whatever has come
// when nothing is being handled any more, when there is enough of it, or when
// the first has waited for gatherTime.
type batcher struct {
	mu     sync.Mutex
	items  []outcome
	open   int         // deliveries that are being handled or wait for a worker
	late   *time.Timer // runs while outcomes wait for others
	armed  bool        // it does
	due    bool        // they have waited for long enough
	closed bool
	wake   chan struct{}
}

func newBatcher() *batcher {
	b := &batcher{wake: make(chan struct{}, 1)}
	b.late = time.AfterFunc(time.Hour, b.expire)
	b.late.Stop()
	return b
}

func (b *batcher) expire() {
	b.mu.Lock()
	b.due = true
	b.mu.Unlock()
	signal(b.wake)
}

// expect announces deliveries of which each ends with finish or drop.
func (b *batcher) expect(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open += n
	b.announce()
}

// add takes an outcome that nobody was told to expect.
func (b *batcher) add(o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.items = append(b.items, o)
	b.announce()
}

// finish takes the outcome of an expected delivery.
func (b *batcher) finish(o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.items = append(b.items, o)
	b.announce()
}

// drop ends the wait for an expected delivery that has no outcome.
func (b *batcher) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.announce()
}

// close lets the committer end once it has taken everything.
func (b *batcher) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.late.Stop()
	b.announce()
}

// announce wakes the committer, or sees to it that it is woken in time.
func (b *batcher) announce() {
	if b.ready() {
		signal(b.wake)
	} else if len(b.items) > 0 && !b.armed {
		b.armed = true
		b.late.Reset(gatherTime)
	}
}

func (b *batcher) ready() bool {
	return b.closed || len(b.items) >= commitBatch || len(b.items) > 0 && (b.open <= 0 || b.due)
}

// take waits for outcomes and returns all there are. It returns none only when
// the batcher is closed and empty. The slice is the caller's until it passes it
// back as spare.
func (b *batcher) take(spare []outcome) []outcome {
	for {
		b.mu.Lock()
		if b.ready() {
			items := b.items
			clear(spare)
			b.items = spare[:0]
			b.late.Stop()
			b.armed, b.due = false, false
			b.mu.Unlock()
			return items
		}
		b.mu.Unlock()
		<-b.wake
	}
}
