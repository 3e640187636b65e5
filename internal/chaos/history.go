package chaos

import (
	"slices"
	"sync"
)

// Message is what a history knows of one message: ordered by Number within its
// Key.
type Message struct {
	ID     string
	Key    string
	Number int
}

// History notes what was acknowledged to publishers and what took effect, in
// the order in which it did. It is safe for concurrent use.
type History struct {
	mu           sync.Mutex
	acknowledged map[string]bool
	effects      map[string]int
	furthest     map[string]int // key -> highest number that took effect
	reordered    int
}

// Verdict is what a history amounts to, in messages.
type Verdict struct {
	Acknowledged int
	Lost         int // acknowledged, without effect
	Twice        int // more than one effect
	Reordered    int // took effect after a later one of the same key
	Unpublished  int // took effect without having been acknowledged: the answer to its publisher was lost
}

// NewHistory returns an empty history.
func NewHistory() *History {
	return &History{
		acknowledged: make(map[string]bool),
		effects:      make(map[string]int),
		furthest:     make(map[string]int),
	}
}

// Acknowledge notes that the bus promised to keep a message.
func (h *History) Acknowledge(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acknowledged[id] = true
}

// Effect notes that a message took effect, and returns how often it has now.
func (h *History) Effect(m Message) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.effects[m.ID]++
	if h.effects[m.ID] > 1 {
		return h.effects[m.ID]
	}
	last, seen := h.furthest[m.Key]
	if seen && m.Number < last {
		h.reordered++
	} else {
		h.furthest[m.Key] = m.Number
	}
	return 1
}

// Lost lists the messages that were acknowledged and had no effect, sorted.
func (h *History) Lost() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lost()
}

func (h *History) lost() (lost []string) {
	for id := range h.acknowledged {
		if h.effects[id] == 0 {
			lost = append(lost, id)
		}
	}
	slices.Sort(lost)
	return lost
}

// Verdict compares the two sides.
func (h *History) Verdict() Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := Verdict{Acknowledged: len(h.acknowledged), Lost: len(h.lost()), Reordered: h.reordered}
	for id, n := range h.effects {
		if n > 1 {
			v.Twice++
		}
		if !h.acknowledged[id] {
			v.Unpublished++
		}
	}
	return v
}
