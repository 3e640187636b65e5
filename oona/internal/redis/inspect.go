package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// GroupInfo is what XINFO GROUPS tells of one consumer group.
type GroupInfo struct {
	Name          string
	Pending       int64
	LastDelivered string
	Lag           int64
	LagKnown      bool  // Redis loses count after deletions; the embedded broker never counts
	HasRead       bool  // it has a read counter
	Read          int64 // entries it has read, as the server counts
}

// StreamInfo is what XINFO STREAM tells of a stream.
type StreamInfo struct {
	Length int64
	Added  int64 // ever; 0 when the server does not count
	// Of the first and of the last entry added; "" when the server does not tell.
	FirstID, LastID string
}

// Groups lists the groups of a stream: none of one that is not there.
func (c *Conn) Groups(ctx context.Context, stream string) ([]GroupInfo, error) {
	return readGroups(stream, c.Do(ctx, c.B().XinfoGroups().Key(stream).Build()))
}

// Inspect asks for a stream and its groups in one round trip.
func (c *Conn) Inspect(ctx context.Context, stream string) (StreamInfo, []GroupInfo, error) {
	replies := c.DoMulti(ctx, c.B().XinfoStream().Key(stream).Build(), c.B().XinfoGroups().Key(stream).Build())
	groups, err := readGroups(stream, replies[1])
	if err != nil || len(groups) == 0 {
		return StreamInfo{}, nil, err
	}
	info, err := readStream(replies[0])
	if err != nil {
		return StreamInfo{}, nil, fmt.Errorf("look at %s: %w", stream, err)
	}
	return info, groups, nil
}

// Stream tells of a stream.
func (c *Conn) Stream(ctx context.Context, stream string) (StreamInfo, error) {
	info, err := readStream(c.Do(ctx, c.B().XinfoStream().Key(stream).Build()))
	if err != nil {
		return StreamInfo{}, fmt.Errorf("look at %s: %w", stream, err)
	}
	return info, nil
}

func readStream(reply rueidis.RedisResult) (StreamInfo, error) {
	fields, err := reply.AsMap()
	if err != nil {
		return StreamInfo{}, err
	}
	var info StreamInfo
	length, added, last := fields["length"], fields["entries-added"], fields["last-generated-id"]
	info.Length, _ = length.AsInt64()
	info.Added, _ = added.AsInt64()
	info.LastID, _ = last.ToString()
	first := fields["first-entry"]
	if e, err := entry.Parse(first); err == nil {
		info.FirstID = e.ID
	}
	return info, nil
}

func readGroups(stream string, reply rueidis.RedisResult) ([]GroupInfo, error) {
	replies, err := reply.ToArray()
	if HasCode(err, "no such key") || HasCode(err, "ERR no such key") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list groups of %s: %w", stream, err)
	}
	groups := make([]GroupInfo, 0, len(replies))
	for _, reply := range replies {
		fields, err := reply.AsMap()
		if err != nil {
			return nil, fmt.Errorf("read groups of %s: %w", stream, err)
		}
		groups = append(groups, parseGroup(fields))
	}
	return groups, nil
}

func parseGroup(fields map[string]rueidis.RedisMessage) GroupInfo {
	name, pending := fields["name"], fields["pending"]
	last, lag, read := fields["last-delivered-id"], fields["lag"], fields["entries-read"]
	var g GroupInfo
	g.Name, _ = name.ToString()
	g.Pending, _ = pending.AsInt64()
	g.LastDelivered, _ = last.ToString()
	var err error
	g.Lag, err = lag.AsInt64()
	g.LagKnown = err == nil
	g.Read, err = read.AsInt64()
	g.HasRead = err == nil
	return g
}

// ConsumerInfo is what XINFO CONSUMERS tells of one consumer.
type ConsumerInfo struct {
	Name    string
	Pending int64
	Idle    time.Duration // since it last tried anything; unknown counts as none
}

// Consumers lists the consumers of a group.
func (c *Conn) Consumers(ctx context.Context, stream, group string) ([]ConsumerInfo, error) {
	replies, err := c.Do(ctx, c.B().XinfoConsumers().Key(stream).Group(group).Build()).ToArray()
	if err != nil {
		return nil, fmt.Errorf("list consumers of %s on %s: %w", group, stream, err)
	}
	consumers := make([]ConsumerInfo, 0, len(replies))
	for _, reply := range replies {
		fields, err := reply.AsMap()
		if err != nil {
			return nil, fmt.Errorf("read consumers of %s: %w", group, err)
		}
		var info ConsumerInfo
		name, pending, idle := fields["name"], fields["pending"], fields["idle"]
		info.Name, _ = name.ToString()
		info.Pending, _ = pending.AsInt64()
		ms, _ := idle.AsInt64()
		info.Idle = time.Duration(ms) * time.Millisecond
		consumers = append(consumers, info)
	}
	return consumers, nil
}
