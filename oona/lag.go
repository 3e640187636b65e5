package oona

import (
	"context"
	"strconv"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Redis serves nobody else while a script runs, and a script loads whole entries:
// so it counts no more than about these, a matter of two milliseconds.
const (
	countedEntries = 1000
	countedBytes   = 200_000
)

// lag is how far a group is behind. The server knows unless entries were deleted.
func (l *loadSampler) lag(ctx context.Context, stream string, info redis.StreamInfo, g redis.GroupInfo) int64 {
	switch {
	case info.Added > 0 && (g.LagKnown || g.HasRead):
		return l.losses.lag(stream, info, g)
	case g.LastDelivered == info.LastID:
		return 0
	}
	entries, bytes := l.boundText, "0"
	if info.LastID != "" {
		entries, bytes = strconv.Itoa(countedEntries), strconv.Itoa(countedBytes)
	}
	reply, err := lagScript.Exec(ctx, l.conn, []string{stream}, []string{g.LastDelivered, entries, bytes}).AsIntSlice()
	if err != nil || len(reply) != 2 {
		return 0
	}
	if counted, complete := reply[0], reply[1] == 1; complete {
		return counted
	}
	return max(reply[0], share(info, g.LastDelivered))
}

// share estimates how many entries lie behind an id, as if they had come at equal
// intervals.
func share(i redis.StreamInfo, id string) int64 {
	first, firstErr := entry.ParseID(i.FirstID)
	last, lastErr := entry.ParseID(i.LastID)
	at, err := entry.ParseID(id)
	if firstErr != nil || lastErr != nil || err != nil || at.MS < first.MS || last.MS <= first.MS {
		return i.Length
	}
	return int64(float64(i.Length) * float64(last.MS-min(at.MS, last.MS)) / float64(last.MS-first.MS))
}
