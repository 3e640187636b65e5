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
	lagKnown      bool  // Redis loses count after deletions; the embedded broker never counts
	hasRead       bool  // it has a read counter
	read          int64 // entries it has read, as the server counts
}

// streamInfo is what XINFO STREAM tells of a stream.
type streamInfo struct {
	length int64
	added  int64 // ever; 0 when the server does not count
	// Of the first and of the last entry added; "" when the server does not tell.
	firstID, lastID string
}

func groupsOf(ctx context.Context, rdb rueidis.Client, stream string) ([]groupInfo, error) {
	return readGroups(stream, rdb.Do(ctx, rdb.B().XinfoGroups().Key(stream).Build()))
}

// look asks for a stream and its groups in one round trip.
func look(ctx context.Context, rdb rueidis.Client, stream string) (streamInfo, []groupInfo, error) {
	replies := rdb.DoMulti(ctx, rdb.B().XinfoStream().Key(stream).Build(), rdb.B().XinfoGroups().Key(stream).Build())
	groups, err := readGroups(stream, replies[1])
	if err != nil || len(groups) == 0 {
		return streamInfo{}, nil, err
	}
	info, err := readStream(replies[0])
	if err != nil {
		return streamInfo{}, nil, fmt.Errorf("look at %s: %w", stream, err)
	}
	return info, groups, nil
}

func streamOf(ctx context.Context, rdb rueidis.Client, stream string) (streamInfo, error) {
	info, err := readStream(rdb.Do(ctx, rdb.B().XinfoStream().Key(stream).Build()))
	if err != nil {
		return streamInfo{}, fmt.Errorf("look at %s: %w", stream, err)
	}
	return info, nil
}

func readStream(reply rueidis.RedisResult) (streamInfo, error) {
	fields, err := reply.AsMap()
	if err != nil {
		return streamInfo{}, err
	}
	var info streamInfo
	length, added, last := fields["length"], fields["entries-added"], fields["last-generated-id"]
	info.length, _ = length.AsInt64()
	info.added, _ = added.AsInt64()
	info.lastID, _ = last.ToString()
	first := fields["first-entry"]
	if entry, err := parseEntry(first); err == nil {
		info.firstID = entry.id
	}
	return info, nil
}

func readGroups(stream string, reply rueidis.RedisResult) ([]groupInfo, error) {
	replies, err := reply.ToArray()
	if isRedisError(err, "no such key") || isRedisError(err, "ERR no such key") {
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
	var err error
	g.lag, err = lag.AsInt64()
	g.lagKnown = err == nil
	g.read, err = read.AsInt64()
	g.hasRead = err == nil
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
