package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Trim removes entries of our streams older than age that every group of the stream
// has read and finished, and returns how many went from each stream. What one group
// has not read stays, up to the bound of the stream. At an age of 0 everything goes that
// is finished.
func (a *Admin) Trim(ctx context.Context, age time.Duration) (map[string]int64, error) {
	trimmed := make(map[string]int64)
	oldest := entry.ID{MS: uint64(max(0, a.conn.Now().Add(-age).UnixMilli()))}
	for _, stream := range a.streams {
		n, err := a.trimStream(ctx, stream, oldest)
		if err != nil {
			return trimmed, err
		}
		trimmed[stream] = n
	}
	return trimmed, nil
}

func (a *Admin) trimStream(ctx context.Context, stream string, keep entry.ID) (int64, error) {
	groups, err := a.conn.Groups(ctx, stream)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		needed, err := a.oldestNeeded(ctx, stream, g)
		if err != nil {
			return 0, err
		}
		keep = keep.Min(needed)
	}
	command := a.conn.B().Xtrim().Key(stream).Minid().Exact().Threshold(keep.String()).Build()
	n, err := a.conn.Do(ctx, command).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("trim %s: %w", stream, err)
	}
	return n, nil
}

// oldestNeeded is the smallest id a group still has to finish or to read.
func (a *Admin) oldestNeeded(ctx context.Context, stream string, g redis.GroupInfo) (entry.ID, error) {
	last, err := entry.ParseID(g.LastDelivered)
	if err != nil {
		return entry.ID{}, err
	}
	if g.Pending == 0 {
		return last.Next(), nil
	}
	summary, err := a.conn.Do(ctx, a.conn.B().Xpending().Key(stream).Group(g.Name).Build()).ToArray()
	if err != nil {
		return entry.ID{}, fmt.Errorf("read pending of %s: %w", g.Name, err)
	}
	if len(summary) < 2 {
		return last.Next(), nil
	}
	first, err := summary[1].ToString()
	if rueidis.IsRedisNil(err) {
		return last.Next(), nil
	}
	if err != nil {
		return entry.ID{}, fmt.Errorf("read pending of %s: %w", g.Name, err)
	}
	return entry.ParseID(first)
}
