package oona

import (
	"context"
	"fmt"
	"time"

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

// consumerInfo is what XINFO CONSUMERS tells of one consumer.
type consumerInfo struct {
	name    string
	pending int64
	idle    time.Duration // since it last tried anything; unknown counts as none
}

func consumersOf(ctx context.Context, rdb rueidis.Client, stream, group string) ([]consumerInfo, error) {
	replies, err := rdb.Do(ctx, rdb.B().XinfoConsumers().Key(stream).Group(group).Build()).ToArray()
	if err != nil {
		return nil, fmt.Errorf("list consumers of %s on %s: %w", group, stream, err)
	}
	consumers := make([]consumerInfo, 0, len(replies))
	for _, reply := range replies {
		fields, err := reply.AsMap()
		if err != nil {
			return nil, fmt.Errorf("read consumers of %s: %w", group, err)
		}
		var info consumerInfo
		name, pending, idle := fields["name"], fields["pending"], fields["idle"]
		info.name, _ = name.ToString()
		info.pending, _ = pending.AsInt64()
		ms, _ := idle.AsInt64()
		info.idle = time.Duration(ms) * time.Millisecond
		consumers = append(consumers, info)
	}
	return consumers, nil
}
