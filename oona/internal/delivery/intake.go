package delivery

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// line is where a reader takes entries from; *redis.Line is one.
type line interface {
	Take(fetch, work context.Context, wait time.Duration, command rueidis.Completed) ([]entry.Entry, error)
	Close()
}

// intake reads the new entries of a subscription.
type intake struct {
	line
	command func(wait time.Duration, count int) rueidis.Completed
	most    int // entries of a batch
	last    int // entries of the last one
}

// next waits for entries. A server answers who waits with the first entry that comes, of
// however many: while there is much to do the others are asked for at once, so that they
// make one batch with it. A batch costs the server and this process far less than two, and
// at rest nothing is asked. An error may come with entries, which are in hand all the same.
func (i *intake) next(fetch, work context.Context, wait time.Duration) ([]entry.Entry, error) {
	entries, err := i.Take(fetch, work, wait, i.command(wait, i.most))
	if n := len(entries); err == nil && wait > 0 && n > 0 && n < i.last/2 && fetch.Err() == nil {
		var others []entry.Entry
		others, err = i.Take(fetch, work, 0, i.command(0, i.most-n))
		entries = append(entries, others...)
	}
	i.last = len(entries)
	return entries, err
}
