package oona

import (
	"context"
	"strconv"
)

// Redis serves nobody else while a script runs, and a script loads whole entries:
// so it counts no more than about these, a matter of two milliseconds.
const (
	countedEntries = 1000
	countedBytes   = 200_000
)

// lag is how far a group is behind. The server knows unless entries were deleted.
func (l *loadSampler) lag(ctx context.Context, stream string, info streamInfo, g groupInfo) int64 {
	switch {
	case info.added > 0 && (g.lagKnown || g.hasRead):
		return l.losses.lag(stream, info, g)
	case g.lastDelivered == info.lastID:
		return 0
	}
	entries, bytes := l.boundText, "0"
	if info.lastID != "" {
		entries, bytes = strconv.Itoa(countedEntries), strconv.Itoa(countedBytes)
	}
	reply, err := lagScript.Exec(ctx, l.rdb, []string{stream}, []string{g.lastDelivered, entries, bytes}).AsIntSlice()
	if err != nil || len(reply) != 2 {
		return 0
	}
	if counted, complete := reply[0], reply[1] == 1; complete {
		return counted
	}
	return max(reply[0], info.share(g.lastDelivered))
}

// share estimates how many entries lie behind an id, as if they had come at equal
// intervals.
func (i streamInfo) share(id string) int64 {
	first, firstErr := parseID(i.firstID)
	last, lastErr := parseID(i.lastID)
	at, err := parseID(id)
	if firstErr != nil || lastErr != nil || err != nil || at.ms < first.ms || last.ms <= first.ms {
		return i.length
	}
	return int64(float64(i.length) * float64(last.ms-min(at.ms, last.ms)) / float64(last.ms-first.ms))
}
