package control

import (
	"sync"
	"time"
)

// maxTroubled bounds the runs that are remembered.
const maxTroubled = 1024

// troubled remembers the runs of one kind of trouble, each with what is to be told of it.
type troubled struct {
	mu   sync.Mutex
	runs map[string]trouble
}

// trouble is the last of a run.
type trouble struct {
	text string
	at   time.Time
}

func (c *troubled) note(run, text string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.runs[run]; c.runs == nil || !known && len(c.runs) >= maxTroubled {
		c.runs = make(map[string]trouble)
	}
	c.runs[run] = trouble{text, now}
}

// since are the runs in trouble since then, each with what is told of it. Older ones are
// forgotten.
func (c *troubled) since(then time.Time) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	texts := make(map[string]string)
	for run, last := range c.runs {
		if last.at.Before(then) {
			delete(c.runs, run)
			continue
		}
		texts[run] = last.text
	}
	return texts
}

// Contested are the runs for which this instance refused a report of a second live
// trainer since then, with that trainer's id. It forgets older ones.
func (r *Room) Contested(since time.Time) map[string]string { return r.contested.since(since) }

// Damaged are the runs that this instance could not decide on since then, because what is
// stored of them is damaged, each with what it is. It forgets older ones.
func (r *Room) Damaged(since time.Time) map[string]string { return r.damaged.since(since) }
