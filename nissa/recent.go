package nissa

import (
	"hash/maphash"
	"strings"
	"time"
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

// capped lets a bounded number of distinct label values through; the rest shares the value "other". One that
// was not used for a while makes room, so that nobody keeps it who is silent.
type capped struct {
	limit  int
	life   time.Duration
	forget func(value string) // what is counted under one that makes room
	known  map[string]time.Time
	swept  time.Time
}

func newCapped(limits Limits, counted ...interface{ DeleteLabelValues(...string) bool }) *capped {
	return &capped{limit: limits.LabelValues, life: limits.SeriesTTL, known: map[string]time.Time{}, forget: func(value string) {
		for _, c := range counted {
			c.DeleteLabelValues(value)
		}
	}}
}

func (c *capped) value(text string) string {
	text, now := labelValue(text), time.Now()
	if _, known := c.known[text]; !known && !c.room(now) {
		return "other"
	} else if !known {
		text = strings.Clone(text) // it may be the beginning of a longer one, which would be kept with it
	}
	c.known[text] = now
	return text
}

// room says whether there is some. A flood of values must not look at all of them for each.
func (c *capped) room(now time.Time) bool {
	if len(c.known) >= c.limit && now.Sub(c.swept) >= sweepPause {
		c.swept = now
		for value, used := range c.known {
			if now.Sub(used) > c.life {
				delete(c.known, value)
				c.forget(value)
			}
		}
	}
	return len(c.known) < c.limit
}
