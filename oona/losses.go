package oona

import (
	"log/slog"
	"sync"
	"time"
)

// lossNotice is how often the losses of one stream are told in the log.
const lossNotice = time.Minute

// losses counts the entries that the bound of a stream removed before a live
// group had read them. Redis counts the lag of a group from what was ever
// added, so what is missing from the stream shows in it, and stays in it.
type losses struct {
	log *slog.Logger

	mu      sync.Mutex
	groups  map[groupKey]*groupLoss
	added   map[string]int64 // entries ever added to a stream, at the last look
	streams map[string]int64 // counted losses
	told    map[string]time.Time
}

type groupKey struct{ stream, group string }

// groupLoss is what is known of one group.
type groupLoss struct {
	missing int64 // entries in its lag that do not exist
	// A group that has read nothing has no counter: its lag begins with what the
	// stream had already lost at the first look.
	unread bool
	base   int64
}

func newLosses(log *slog.Logger) *losses {
	return &losses{log: log, groups: make(map[groupKey]*groupLoss), added: make(map[string]int64),
		streams: make(map[string]int64), told: make(map[string]time.Time)}
}

// begin notes a look at a stream. A stream that has had fewer entries than
// before is another one.
func (l *losses) begin(stream string, added int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if added < l.added[stream] {
		for key := range l.groups {
			if key.stream == stream {
				delete(l.groups, key)
			}
		}
	}
	l.added[stream] = added
}

// lag returns how many entries a group really has to read, and how many more
// were lost to it since the last look. The server must count what was added.
func (l *losses) lag(stream string, s streamInfo, g groupInfo) (lag, lost int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := groupKey{stream, g.name}
	known := l.groups[key]
	if known == nil {
		known = &groupLoss{unread: !g.hasRead, base: s.added - s.length}
		l.groups[key] = known
		lag, _ = known.update(s, g)
		return lag, 0 // what was lost before the first look was somebody else's to tell
	}
	return known.update(s, g)
}

func (k *groupLoss) update(s streamInfo, g groupInfo) (lag, lost int64) {
	if k.unread && g.hasRead {
		k.unread, k.missing = false, 0
	}
	counted := g.lag
	if k.unread {
		counted = s.added - k.base
	}
	missing := k.missing
	switch {
	case s.lastID == g.lastDelivered:
		missing = counted // it has read to the end
	case counted > s.length:
		missing = max(missing, counted-s.length)
	}
	lost = max(0, missing-k.missing)
	k.missing = missing
	return max(0, counted-missing), lost
}

func (l *losses) count(stream, group string, n int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[stream] += n
	if now.Sub(l.told[stream]) >= lossNotice {
		l.told[stream] = now
		l.log.Error("the bound of the stream removed unread entries", "stream", stream, "group", group,
			"entries", n, "total", l.streams[stream])
	}
}

func (l *losses) total(stream string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams[stream]
}
