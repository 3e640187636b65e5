package control

import (
	"sync"
	"time"
)

// maxContested bounds the runs that are remembered.
const maxContested = 1024

// contested remembers the runs for which a second live trainer reports.
type contested struct {
	mu   sync.Mutex
	runs map[string]refusal
}

// refusal is of the last report that was refused.
type refusal struct {
	trainer string
	at      time.Time
}

func (c *contested) note(run, trainer string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.runs[run]; c.runs == nil || !known && len(c.runs) >= maxContested {
		c.runs = make(map[string]refusal)
	}
	c.runs[run] = refusal{trainer, now}
}

// since are the runs of a refusal since then, with the trainer that was refused.
// Older ones are forgotten.
func (c *contested) since(then time.Time) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	trainers := make(map[string]string)
	for run, last := range c.runs {
		if last.at.Before(then) {
			delete(c.runs, run)
			continue
		}
		trainers[run] = last.trainer
	}
	return trainers
}

// Contested are the runs for which this instance refused a report of a second live
// trainer since then, with that trainer's id. It forgets older ones.
func (r *Room) Contested(since time.Time) map[string]string { return r.contested.since(since) }
