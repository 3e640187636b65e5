package control

import (
	"sync"
	"time"
)

// maxTroubled bounds the runs that are remembered.
const maxTroubled = 1024

// longestTrouble bounds how long a trouble lasts of which nothing more is noted.
const longestTrouble = time.Hour

// troubled remembers the runs of one kind of trouble, each with what is to be told of it.
type troubled struct {
	lasts bool // a trouble counts for twice the time between its last two
	mu    sync.Mutex
	runs  map[string]trouble
}

// trouble is the last of a run.
type trouble struct {
	text      string
	at, until time.Time
}

func (c *troubled) note(run, text string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.runs[run]
	if c.runs == nil || !known && len(c.runs) >= maxTroubled {
		c.runs = make(map[string]trouble)
	}
	until := now
	if known && c.lasts {
		until = now.Add(min(2*now.Sub(last.at), longestTrouble))
	}
	c.runs[run] = trouble{text, now, until}
}

// since are the runs in trouble since then, each with what is told of it. Those of an hour
// before are forgotten.
func (c *troubled) since(then time.Time) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	texts := make(map[string]string)
	for run, last := range c.runs {
		switch {
		case !last.until.Before(then):
			texts[run] = last.text
		case last.at.Before(then.Add(-longestTrouble)):
			delete(c.runs, run)
		}
	}
	return texts
}

// Contested are the runs for which this instance refused a report of a second live trainer since
// then, or still counts as refusing between two of its seldom reports; each with the second
// trainer's id.
func (r *Room) Contested(since time.Time) map[string]string { return r.contested.since(since) }

// Damaged are the runs that this instance could not decide on since then, because what is
// stored of them is damaged, each with what it is.
func (r *Room) Damaged(since time.Time) map[string]string { return r.damaged.since(since) }
