package simtest

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// deadLetters is where the bus keeps what it gave up.
const deadLetters = "oona.deadletter"

var (
	errUnavailable = errors.New("bus is unavailable")
	errNoGroup     = errors.New("no such group")
	errClosed      = errors.New("process is gone")
)

// ID is the place of an entry in its stream, from 1.
type ID int

// Message is what a stream carries: a name that means the same wherever and however often it is published.
type Message struct {
	Stream string
	Name   string
	Cause  Cause
	Reason string // of a dead letter
}

// Cause is the entry that a message answers or buries.
type Cause struct {
	Stream, Name string
	ID           ID
}

// Entry is a message as a group delivered it.
type Entry struct {
	Message
	ID         ID
	Deliveries int // how often it was delivered, this time included
}

// Bus is a bus in memory, with the semantics of Redis Streams that package oona relies on. Its methods may be called
// from any goroutine.
type Bus struct {
	mu      sync.Mutex
	skew    time.Duration // of the bus's clock
	down    bool
	streams map[string]*stream
	marks   map[mark]ID
	defects Defects
}

// mark remembers which entry a name was answered for, in one group of one stream.
type mark struct{ stream, group, name string }

type stream struct {
	entries []slot // entry n has the ID n+1
	groups  map[string]*group
	waiting []chan struct{}
}

type slot struct {
	message Message
	deleted bool
}

type group struct {
	delivered ID
	pending   []*delivery // by ID
}

type delivery struct {
	id    ID
	owner string
	count int
	at    time.Time // on the bus's clock
}

// NewBus returns an empty bus.
func NewBus() *Bus {
	return &Bus{streams: make(map[string]*stream), marks: make(map[mark]ID)}
}

func (b *Bus) now() time.Time { return time.Now().Add(b.skew) }

// MoveClock moves the bus's clock, either way.
func (b *Bus) MoveClock(by time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.skew += by
}

// SetDown begins or ends an outage. Whoever waits in a read finds out at once.
func (b *Bus) SetDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
	for _, s := range b.streams {
		s.wake()
	}
}

func (s *stream) wake() {
	for _, c := range s.waiting {
		close(c)
	}
	s.waiting = nil
}

// The rest is called with the lock held.

func (b *Bus) stream(name string) *stream {
	s := b.streams[name]
	if s == nil {
		s = &stream{groups: make(map[string]*group)}
		b.streams[name] = s
	}
	return s
}

func (b *Bus) group(stream, name string) (*group, error) {
	g := b.stream(stream).groups[name]
	if g == nil {
		return nil, errNoGroup
	}
	return g, nil
}

func (b *Bus) add(m Message) ID {
	s := b.stream(m.Stream)
	s.entries = append(s.entries, slot{message: m})
	s.wake()
	return ID(len(s.entries))
}

func (b *Bus) remove(stream string, id ID) { b.stream(stream).entries[id-1].deleted = true }

func (b *Bus) createGroup(stream, name string) {
	s := b.stream(stream)
	if s.groups[name] == nil {
		s.groups[name] = &group{}
	}
}

// fetch delivers up to n new entries to a consumer.
func (b *Bus) fetch(stream, groupName, consumer string, n int) ([]Entry, error) {
	g, err := b.group(stream, groupName)
	if err != nil {
		return nil, err
	}
	s := b.stream(stream)
	var entries []Entry
	for int(g.delivered) < len(s.entries) && len(entries) < n {
		g.delivered++
		if s.entries[g.delivered-1].deleted {
			continue
		}
		d := &delivery{id: g.delivered, owner: consumer, count: 1, at: b.now()}
		g.pending = append(g.pending, d)
		entries = append(entries, s.entry(d))
	}
	return entries, nil
}

func (s *stream) entry(d *delivery) Entry {
	return Entry{Message: s.entries[d.id-1].message, ID: d.id, Deliveries: d.count}
}

// own delivers a consumer's pending entries once more: up to n of those behind after. gone are those that were deleted
// meanwhile.
func (b *Bus) own(stream, groupName, consumer string, after ID, n int) (entries []Entry, gone []ID, err error) {
	g, err := b.group(stream, groupName)
	if err != nil {
		return nil, nil, err
	}
	s := b.stream(stream)
	for _, d := range g.pending {
		if d.id <= after || d.owner != consumer || len(entries)+len(gone) == n {
			continue
		}
		if s.entries[d.id-1].deleted {
			gone = append(gone, d.id)
			continue
		}
		d.count, d.at = d.count+1, b.now()
		entries = append(entries, s.entry(d))
	}
	return entries, gone, nil
}

// claim delivers to a consumer the pending entries of anybody that have been idle for at least idle, or of these only
// those in ids when there are any. Deleted ones leave the pending list, however long they have been idle.
func (b *Bus) claim(stream, groupName, consumer string, idle time.Duration, ids ...ID) ([]Entry, error) {
	g, err := b.group(stream, groupName)
	if err != nil {
		return nil, err
	}
	s := b.stream(stream)
	var entries []Entry
	for _, d := range slices.Clone(g.pending) {
		if len(ids) > 0 && !slices.Contains(ids, d.id) {
			continue
		}
		if s.entries[d.id-1].deleted {
			g.acknowledge(d.id)
			continue
		}
		if b.now().Sub(d.at) < idle {
			continue
		}
		d.owner, d.count, d.at = consumer, d.count+1, b.now()
		entries = append(entries, s.entry(d))
	}
	return entries, nil
}

func (g *group) acknowledge(id ID) bool {
	i, found := slices.BinarySearchFunc(g.pending, id, func(d *delivery, id ID) int { return int(d.id - id) })
	if found {
		g.pending = slices.Delete(g.pending, i, i+1)
	}
	return found
}
