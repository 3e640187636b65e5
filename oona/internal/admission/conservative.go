package admission

import (
	"sync"
	"time"
)

// calmFor is the quiet time, after the last cause has gone, before conservative
// mode ends.
const calmFor = 10 * time.Second

// Conservative mode begins when a stream is filled to strainFrom of its bound
// and the stream stops being a cause below strainTo; the breaker is the other
// cause. The mode is told, never acted on: no traffic is diverted.
const (
	strainFrom = 0.90
	strainTo   = 0.70
)

// conservative is the mode: on while it has a cause, off once it has
// had none for calmFor.
type conservative struct {
	mu     sync.Mutex
	causes map[string]bool
	last   time.Time // when the last cause went; zero: there never was one
}

func newConservative() *conservative { return &conservative{causes: make(map[string]bool)} }

// enter notes a cause, and reports whether it is a new one.
func (c *conservative) enter(cause string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.causes[cause]
	c.causes[cause] = true
	return !known
}

func (c *conservative) leave(cause string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.causes[cause] {
		delete(c.causes, cause)
		c.last = now
	}
}

// strained notes how far a stream is filled.
func (c *conservative) strained(stream string, backlog, bound int64, now time.Time) {
	switch fill := float64(backlog) / float64(bound); {
	case fill >= strainFrom:
		c.enter(stream)
	case fill < strainTo:
		c.leave(stream, now)
	}
}

func (c *conservative) on(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.causes) > 0 || !c.last.IsZero() && now.Sub(c.last) < calmFor
}
