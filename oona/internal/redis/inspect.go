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
	HasRead       bool  // it has a read counter; the embedded broker never counts
	Read          int64 // entries it has read, as the server counts
	HasLag        bool
	Lag           int64 // entries that it has not read, as the server counts
}

// StreamInfo is what XINFO STREAM tells of a stream.
type StreamInfo struct {
	Length int64
	Added  int64 // ever; 0 when the server does not count
	// Of the first and of the last entry added; "" when the server does not tell.
	FirstID, LastID string
}

// ConsumerInfo is what XINFO CONSUMERS tells of one consumer.
type ConsumerInfo struct {
	Name    string
	Pending int64
	Idle    time.Duration // since it last tried anything; unknown counts as none
}

// Groups lists the groups of a stream: none of one that is not there.
func (c *Conn) Groups(ctx context.Context, stream string) ([]GroupInfo, error) {
	return readGroups(stream, c.Do(ctx, c.B().XinfoGroups().Key(stream).Build()))
}

// Stream tells of a stream.
func (c *Conn) Stream(ctx context.Context, stream string) (StreamInfo, error) {
	return readStream(stream, c.Do(ctx, c.B().XinfoStream().Key(stream).Build()))
}

// Inspect asks for a stream and its groups in one round trip.
func (c *Conn) Inspect(ctx context.Context, stream string) (StreamInfo, []GroupInfo, error) {
	replies := c.DoMulti(ctx, c.B().XinfoStream().Key(stream).Build(), c.B().XinfoGroups().Key(stream).Build())
	groups, err := readGroups(stream, replies[1])
	if err != nil || len(groups) == 0 {
		return StreamInfo{}, nil, err
	}
	info, err := readStream(stream, replies[0])
	return info, groups, err
}

// Consumers lists the consumers of a group.
func (c *Conn) Consumers(ctx context.Context, stream, group string) ([]ConsumerInfo, error) {
	rows, err := readRows(c.Do(ctx, c.B().XinfoConsumers().Key(stream).Group(group).Build()))
	if err != nil {
		return nil, fmt.Errorf("list consumers of %s on %s: %w", group, stream, err)
	}
	consumers := make([]ConsumerInfo, len(rows))
	for i, f := range rows {
		pending, _ := f.number("pending")
		idle, _ := f.number("idle")
		consumers[i] = ConsumerInfo{Name: f.text("name"), Pending: pending, Idle: time.Duration(idle) * time.Millisecond}
	}
	return consumers, nil
}

func readStream(stream string, reply rueidis.RedisResult) (StreamInfo, error) {
	f, err := reply.AsMap()
	if err != nil {
		return StreamInfo{}, fmt.Errorf("look at %s: %w", stream, err)
	}
	info := StreamInfo{LastID: fields(f).text("last-generated-id")}
	info.Length, _ = fields(f).number("length")
	info.Added, _ = fields(f).number("entries-added")
	if first, err := entry.Parse(f["first-entry"]); err == nil {
		info.FirstID = first.ID
	}
	return info, nil
}

func readGroups(stream string, reply rueidis.RedisResult) ([]GroupInfo, error) {
	rows, err := readRows(reply)
	if HasCode(err, "no such key") || HasCode(err, "ERR no such key") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list groups of %s: %w", stream, err)
	}
	groups := make([]GroupInfo, len(rows))
	for i, f := range rows {
		g := GroupInfo{Name: f.text("name"), LastDelivered: f.text("last-delivered-id")}
		g.Pending, _ = f.number("pending")
		g.Read, g.HasRead = f.number("entries-read")
		g.Lag, g.HasLag = f.number("lag")
		groups[i] = g
	}
	return groups, nil
}

// fields are those of one row that the server tells.
type fields map[string]rueidis.RedisMessage

func (f fields) text(name string) string {
	field := f[name]
	text, _ := field.ToString()
	return text
}

// number is a field; false when the server does not know it.
func (f fields) number(name string) (int64, bool) {
	field := f[name]
	n, err := field.AsInt64()
	return n, err == nil
}

func readRows(reply rueidis.RedisResult) ([]fields, error) {
	replies, err := reply.ToArray()
	if err != nil {
		return nil, err
	}
	rows := make([]fields, len(replies))
	for i, reply := range replies {
		if rows[i], err = reply.AsMap(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}
