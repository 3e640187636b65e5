package oona

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// groupInfo is what XINFO GROUPS tells of one consumer group.
type groupInfo struct {
	name          string
	pending       int64
	lastDelivered string
	lag           int64
	lagKnown      bool // Redis loses count after deletions; the embedded broker never counts
}

func groupsOf(ctx context.Context, rdb rueidis.Client, stream string) ([]groupInfo, error) {
	replies, err := rdb.Do(ctx, rdb.B().XinfoGroups().Key(stream).Build()).ToArray()
	if isRedisError(err, "no such key") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list groups of %s: %w", stream, err)
	}
	groups := make([]groupInfo, 0, len(replies))
	for _, reply := range replies {
		fields, err := reply.AsMap()
		if err != nil {
			return nil, fmt.Errorf("read groups of %s: %w", stream, err)
		}
		groups = append(groups, parseGroup(fields))
	}
	return groups, nil
}

func parseGroup(fields map[string]rueidis.RedisMessage) groupInfo {
	name, pending := fields["name"], fields["pending"]
	last, lag, read := fields["last-delivered-id"], fields["lag"], fields["entries-read"]
	var g groupInfo
	g.name, _ = name.ToString()
	g.pending, _ = pending.AsInt64()
	g.lastDelivered, _ = last.ToString()
	n, err := lag.AsInt64()
	// A group that was created but not read yet has no read counter and a true
	// lag; the embedded broker has neither, ever, and reports the length.
	_, readErr := read.AsInt64()
	g.lag, g.lagKnown = n, err == nil && readErr == nil
	return g
}
