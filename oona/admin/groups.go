// Package admin is for whoever looks after a bus: an Admin trims what is read, takes
// away consumers and groups that are gone, and asks the server what it is and
// whether it can be written to. Client.Admin makes one; housekeeping, preflight and
// the operator's tool call it.
package admin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

// Admin looks after the streams of one bus. It is safe for concurrent use.
type Admin struct {
	conn    *redis.Conn
	self    string
	streams []string
}

// New is an Admin of these streams, for the consumer self, which it never removes.
func New(conn *redis.Conn, self string, streams []string) *Admin {
	return &Admin{conn: conn, self: self, streams: streams}
}

// PruneGroups removes from the streams the groups that begin with a prefix, that
// gone says yes to, and that nobody has read for at least empty, or for at least
// owning when they own entries. It returns the names of what went.
func (a *Admin) PruneGroups(
	ctx context.Context, prefix string, gone func(group string) bool, empty, owning time.Duration, streams ...string,
) ([]string, error) {
	var removed []string
	for _, stream := range streams {
		groups, err := a.conn.Groups(ctx, stream)
		if err != nil {
			return removed, err
		}
		for _, g := range groups {
			if !strings.HasPrefix(g.Name, prefix) || !gone(g.Name) {
				continue
			}
			quiet, err := a.silence(ctx, stream, g.Name)
			if err != nil {
				return removed, err
			}
			if quiet < empty || g.Pending > 0 && quiet < owning {
				continue
			}
			if err := a.RemoveGroup(ctx, g.Name, stream); err != nil {
				return removed, err
			}
			removed = append(removed, stream+" "+g.Name)
		}
	}
	return removed, nil
}

// silence is how long no consumer of a group has asked for anything. A group
// that nobody ever read is as old as can be.
func (a *Admin) silence(ctx context.Context, stream, group string) (time.Duration, error) {
	consumers, err := a.conn.Consumers(ctx, stream, group)
	if err != nil {
		return 0, err
	}
	quiet := time.Duration(1<<63 - 1)
	for _, consumer := range consumers {
		quiet = min(quiet, consumer.Idle)
	}
	return quiet, nil
}

// RemoveGroup removes a group from streams, with what it owns there. A group or
// stream that does not exist is no error.
func (a *Admin) RemoveGroup(ctx context.Context, group string, streams ...string) error {
	for _, stream := range streams {
		err := a.conn.Do(ctx, a.conn.B().XgroupDestroy().Key(stream).Group(group).Build()).Error()
		if err != nil && !redis.IsReply(err) {
			return fmt.Errorf("remove group %s of %s: %w", group, stream, err)
		}
	}
	return nil
}
