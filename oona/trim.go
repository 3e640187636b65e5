package oona

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Trim removes entries older than MessageTTL that every group of the stream has
// read and finished, and returns how many went from each stream. What one group
// has not read stays, up to the bound of the stream. Dead letters go when they
// are older than DeadLetterTTL, and consumers that own nothing after
// ConsumerIdle.
//
// One failure does not keep it from the rest: the errors are joined.
func (c *Client) Trim(ctx context.Context) (map[string]int64, error) {
	trimmed := make(map[string]int64)
	var failed []error
	if c.cfg.DeadLetterTTL > 0 {
		n, err := c.PurgeDeadLettersBefore(ctx, time.Now().Add(-c.cfg.DeadLetterTTL))
		trimmed[c.cfg.DeadLetter], failed = n, append(failed, err)
	}
	if c.cfg.ConsumerIdle > 0 {
		_, err := c.PruneConsumers(ctx, c.cfg.ConsumerIdle)
		failed = append(failed, err)
	}
	if c.cfg.MessageTTL > 0 {
		failed = append(failed, c.trimStreams(ctx, trimmed))
	}
	return trimmed, errors.Join(failed...)
}

func (c *Client) trimStreams(ctx context.Context, trimmed map[string]int64) error {
	oldest := entry.ID{MS: uint64(max(0, time.Now().Add(-c.cfg.MessageTTL).UnixMilli()))}
	for _, stream := range c.cfg.Streams.Names() {
		n, err := c.trimStream(ctx, stream, oldest)
		if err != nil {
			return err
		}
		trimmed[stream] = n
	}
	return nil
}

func (c *Client) trimStream(ctx context.Context, stream string, keep entry.ID) (int64, error) {
	groups, err := c.conn.Groups(ctx, stream)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		needed, err := c.oldestNeeded(ctx, stream, g)
		if err != nil {
			return 0, err
		}
		keep = keep.Min(needed)
	}
	command := c.conn.B().Xtrim().Key(stream).Minid().Exact().Threshold(keep.String()).Build()
	n, err := c.conn.Do(ctx, command).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("trim %s: %w", stream, err)
	}
	return n, nil
}

// oldestNeeded is the smallest id a group still has to finish or to read.
func (c *Client) oldestNeeded(ctx context.Context, stream string, g redis.GroupInfo) (entry.ID, error) {
	last, err := entry.ParseID(g.LastDelivered)
	if err != nil {
		return entry.ID{}, err
	}
	if g.Pending == 0 {
		return last.Next(), nil
	}
	summary, err := c.conn.Do(ctx, c.conn.B().Xpending().Key(stream).Group(g.Name).Build()).ToArray()
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

func unixMilliText(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }
