package nissa

import (
	"hash/maphash"
	"strings"
)

// recent remembers the last ids it was given, to tell repeats: by their hashes, so that a
// long id takes no more room than a short one.
type recent struct {
	seed  maphash.Seed
	known map[uint64]struct{}
	ring  []uint64
	next  int
}

func newRecent(size int) *recent {
	return &recent{seed: maphash.MakeSeed(), known: make(map[uint64]struct{}, size), ring: make([]uint64, size)}
}

// add reports whether id is new.
func (r *recent) add(id string) bool {
	hash := maphash.String(r.seed, id)
	if _, known := r.known[hash]; known {
		return false
	}
	delete(r.known, r.ring[r.next])
	r.known[hash] = struct{}{}
	r.ring[r.next] = hash
	r.next = (r.next + 1) % len(r.ring)
	return true
}

// capped lets a bounded number of distinct label values through; the rest
// shares the value "other".
type capped struct {
	limit int
	known map[string]struct{}
}

func newCapped(limit int) *capped {
	return &capped{limit: limit, known: map[string]struct{}{}}
}

func (c *capped) value(text string) string {
	text = labelValue(text)
	if _, known := c.known[text]; known {
		return text
	}
	if len(c.known) >= c.limit {
		return "other"
	}
	text = strings.Clone(text) // it may be the beginning of a longer one, which would be kept with it
	c.known[text] = struct{}{}
	return text
}
