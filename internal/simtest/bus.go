package simtest

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/esper-lite/weatherlight/oona/embedded"
)

var (
	errUnavailable = errors.New("bus is unavailable")
	errNoGroup     = errors.New("no such group")
	errClosed      = errors.New("process is gone")
)

// ID is the id of an entry in its stream.
type ID = string

// Entry is a message as a group delivered it.
type Entry struct {
	Message
	ID         ID
	Deliveries int // how often it was delivered, this time included
}

// Bus is the embedded broker, with what a simulation needs beside it: outages, a clock that can be moved, and readers
// that wait without a socket. Its exported methods may be called from any goroutine; the rest wants the lock held.
type Bus struct {
	broker *embedded.Broker
	call   func(at time.Time, words ...string) any // runs one command at a time of the bus's clock
	script string                                  // package oona's commit

	mu      sync.Mutex
	skew    time.Duration // of the bus's clock
	down    bool
	waiting map[string][]chan struct{} // readers, by stream
	defects Defects
}

// NewBus starts an empty bus that commits by the given script. It must be called outside of the bubble that uses it:
// the broker's listener would stop the clock.
func NewBus(script string) (*Bus, error) {
	b, err := embedded.Start(embedded.Config{})
	if err != nil {
		return nil, err
	}
	call := func(at time.Time, words ...string) any { return decodeReply(b.Do(at, words...)) }
	return &Bus{broker: b, call: call, script: script, waiting: make(map[string][]chan struct{})}, nil
}

// Close forgets everything.
func (b *Bus) Close() { b.broker.Close() }

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
	for stream := range b.waiting {
		b.wake(stream)
	}
}

func (b *Bus) wake(stream string) {
	for _, c := range b.waiting[stream] {
		close(c)
	}
	delete(b.waiting, stream)
}

// do runs a command. A group that is missing is an error of its own.
func (b *Bus) do(words ...string) (reply any, err error) {
	reply = b.call(time.Now().Add(b.skew), words...)
	err, failed := reply.(error)
	switch {
	case !failed:
		return reply, nil
	case strings.HasPrefix(err.Error(), "NOGROUP"):
		return nil, errNoGroup
	}
	return nil, err
}

func (b *Bus) add(m Message) (ID, error) {
	reply, err := b.do("XADD", m.Stream, "*", "payload", m.payload(), "signature", "")
	id, _ := reply.(string)
	b.wake(m.Stream)
	return id, err
}

func (b *Bus) createGroup(stream, name string) error {
	_, err := b.do("XGROUP", "CREATE", stream, name, "0", "MKSTREAM")
	if err != nil && strings.HasPrefix(err.Error(), "BUSYGROUP") {
		return nil
	}
	return err
}

// fetch delivers up to n new entries to a consumer.
func (b *Bus) fetch(stream, group, consumer string, n int) ([]Entry, error) {
	reply, err := b.do("XREADGROUP", "GROUP", group, consumer, "COUNT", strconv.Itoa(n), "STREAMS", stream, ">")
	if err != nil {
		return nil, err
	}
	entries := entriesOf(stream, at(reply, 0, 1))
	for i := range entries {
		entries[i].Deliveries = 1
	}
	return entries, nil
}

// own delivers a consumer's pending entries once more: up to n of those behind after.
func (b *Bus) own(stream, group, consumer string, after ID, n int) ([]Entry, error) {
	return b.take(stream, group, consumer, 0, following(after), "+", strconv.Itoa(n), consumer)
}

// following is the lowest id behind another; the empty one comes before all.
func following(id ID) ID {
	ms, seq, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil {
		return "-"
	}
	return ms + "-" + strconv.FormatUint(n+1, 10)
}

// claim delivers to a consumer the pending entries of anybody that have been idle for at least idle.
func (b *Bus) claim(stream, group, consumer string, idle time.Duration) ([]Entry, error) {
	return b.take(stream, group, consumer, idle, "-", "+", "10000")
}

// reclaim delivers one entry to a consumer if it is still pending, whoever has it.
func (b *Bus) reclaim(stream, group, consumer string, id ID) ([]Entry, error) {
	return b.take(stream, group, consumer, 0, id, id, "1")
}

// take delivers pending entries to a consumer: those in a range of the pending list that have been idle for long
// enough.
func (b *Bus) take(stream, group, consumer string, idle time.Duration, rows ...string) ([]Entry, error) {
	ms := strconv.FormatInt(idle.Milliseconds(), 10)
	pending, err := b.pending(stream, group, append([]string{"IDLE", ms}, rows...)...)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	claim := []string{"XCLAIM", stream, group, consumer, ms}
	counts := make(map[ID]int, len(pending))
	for _, d := range pending {
		claim = append(claim, d.id)
		counts[d.id] = d.count + 1
	}
	reply, err := b.do(claim...)
	entries := entriesOf(stream, reply)
	for i, e := range entries {
		entries[i].Deliveries = counts[e.ID]
	}
	return entries, err
}

// delivery is a row of a group's pending list.
type delivery struct {
	id    ID
	owner string
	count int
}

// pending lists a group's pending entries: by default all.
func (b *Bus) pending(stream, group string, rows ...string) ([]delivery, error) {
	if len(rows) == 0 {
		rows = []string{"-", "+", "10000"}
	}
	reply, err := b.do(append([]string{"XPENDING", stream, group}, rows...)...)
	if err != nil {
		return nil, err
	}
	var pending []delivery
	for _, row := range list(reply) {
		pending = append(pending, delivery{id: text(at(row, 0)), owner: text(at(row, 1)), count: int(number(at(row, 3)))})
	}
	return pending, nil
}

// delivered is the last entry that was delivered to a group.
func (b *Bus) delivered(stream, group string) (ID, error) {
	reply, err := b.do("XINFO", "GROUPS", stream)
	if err != nil {
		return "", err
	}
	for _, row := range list(reply) {
		info := list(row)
		if i := slices.Index(info, any("name")); i >= 0 && at(row, i+1) == any(group) {
			return text(at(row, slices.Index(info, any("last-delivered-id"))+1)), nil
		}
	}
	return "", errNoGroup
}

// entries are all that a stream holds.
func (b *Bus) entries(stream string) ([]Entry, error) {
	reply, err := b.do("XRANGE", stream, "-", "+")
	return entriesOf(stream, reply), err
}

// streams are the names of all streams there are.
func (b *Bus) streams() ([]string, error) {
	reply, err := b.do("KEYS", "*")
	var names []string
	for _, name := range list(reply) {
		if !strings.HasPrefix(text(name), markPrefix) {
			names = append(names, text(name))
		}
	}
	slices.Sort(names)
	return names, err
}
