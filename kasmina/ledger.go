package kasmina

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"time"
)

// nonceTTL is how long a spent nonce is remembered. It must exceed the
// freshness window and the clock skew together.
const nonceTTL = 300 * time.Second

// acceptedAhead is more than the clock skew that a command may come with.
const acceptedAhead = time.Minute

// nonce is the digest of a command identifier, so that its length is bounded.
type nonce [sha256.Size]byte

// spentNonce is one line of the ledger.
type spentNonce struct {
	key     nonce
	issued  time.Time // when the command was issued; zero when it did not say
	expires time.Time
}

// latest is up to when a command that was accepted can have been issued: one that
// says it was issued later was refused.
func (n spentNonce) latest() time.Time {
	if bound := n.expires.Add(acceptedAhead - nonceTTL); n.issued.After(bound) {
		return bound
	}
	return n.issued
}

// ledger remembers spent nonces in the order in which they expire. Past its
// capacity it forgets the oldest. It refuses every command issued no later than a
// forgotten one: what it forgets stays unusable, also when somebody sets the clock
// back. It belongs to one goroutine.
type ledger struct {
	path     string
	capacity int

	known     map[nonce]struct{}
	queue     []spentNonce
	floor     time.Time // commands issued up to here are stale
	evictions int64

	file    *os.File
	records int // in the file
}

// openLedger reads the ledger's file, or starts an empty one.
func openLedger(path string, capacity int, now time.Time) (*ledger, error) {
	l := &ledger{path: path, capacity: capacity, known: make(map[nonce]struct{})}
	if path == "" {
		return l, nil
	}
	stored, err := readLedger(path)
	if err != nil {
		return nil, fmt.Errorf("open nonce ledger: %w", err)
	}
	l.restore(stored, now)
	if err := l.compact(); err != nil {
		return nil, fmt.Errorf("open nonce ledger: %w", err)
	}
	return l, nil
}

func (l *ledger) restore(stored []spentNonce, now time.Time) {
	slices.SortStableFunc(stored, func(a, b spentNonce) int { return a.expires.Compare(b.expires) })
	for _, entry := range stored {
		if entry.key == (nonce{}) {
			l.raiseFloor(entry.issued)
			continue
		}
		if !entry.expires.After(now) {
			l.raiseFloor(entry.latest())
		} else if _, ok := l.known[entry.key]; !ok {
			l.remember(entry)
		}
	}
	l.truncate()
	l.evictions = 0
}

// replayed reports whether a command identifier was spent already.
func (l *ledger) replayed(commandID string, now time.Time) bool {
	l.sweep(now)
	_, ok := l.known[sha256.Sum256([]byte(commandID))]
	return ok
}

// spend records a command identifier, on disk before in memory, and returns
// how many others were forgotten for want of room.
func (l *ledger) spend(commandID string, issued, now time.Time) (int, error) {
	entry := spentNonce{key: sha256.Sum256([]byte(commandID)), issued: issued, expires: now.Add(nonceTTL)}
	if err := l.write(entry); err != nil {
		return 0, fmt.Errorf("record nonce: %w", err)
	}
	l.remember(entry)
	return l.truncate(), nil
}

func (l *ledger) remember(entry spentNonce) {
	l.known[entry.key] = struct{}{}
	l.queue = append(l.queue, entry)
}

// truncate forgets the oldest nonces above the capacity.
func (l *ledger) truncate() int {
	removed := 0
	for len(l.queue) > l.capacity {
		l.raiseFloor(l.queue[0].issued)
		l.forgetFirst()
		removed++
	}
	return removed
}

// sweep forgets what has expired. The queue is in the order of expiry, so only
// its head is looked at.
func (l *ledger) sweep(now time.Time) {
	for len(l.queue) > 0 && !l.queue[0].expires.After(now) {
		l.raiseFloor(l.queue[0].latest())
		l.forgetFirst()
	}
}

func (l *ledger) forgetFirst() {
	delete(l.known, l.queue[0].key)
	l.queue = l.queue[1:]
	l.evictions++
}

func (l *ledger) raiseFloor(issued time.Time) {
	if issued.After(l.floor) {
		l.floor = issued
	}
}

// belowFloor reports that a command may be one that was forgotten. A floor far in
// the future was set by a clock that was wrong: it does not count.
func (l *ledger) belowFloor(issued, now time.Time) bool {
	return !l.floor.IsZero() && !l.floor.After(now.Add(nonceTTL)) && !issued.After(l.floor)
}

func (l *ledger) size() int { return len(l.queue) }
