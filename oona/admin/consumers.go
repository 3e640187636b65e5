package admin

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/esper-lite/weatherlight/oona/internal/redis"
)

//go:embed prune.lua
var pruneSource string

var pruneScript = rueidis.NewLuaScript(pruneSource)

// PruneConsumers removes the consumers of every group on our streams that have
// been silent for longer than idle and own nothing. One that owns entries stays
// until they were taken over. It returns how many went.
func (a *Admin) PruneConsumers(ctx context.Context, idle time.Duration) (int64, error) {
	var removed int64
	for _, stream := range a.streams {
		groups, err := a.conn.Groups(ctx, stream)
		if err != nil {
			return removed, err
		}
		for _, g := range groups {
			n, err := a.pruneGroup(ctx, stream, g.Name, idle)
			removed += n
			if err != nil {
				return removed, err
			}
		}
	}
	return removed, nil
}

func (a *Admin) pruneGroup(ctx context.Context, stream, group string, idle time.Duration) (int64, error) {
	consumers, err := a.conn.Consumers(ctx, stream, group)
	if err != nil {
		return 0, err
	}
	var removed int64
	for _, consumer := range consumers {
		if consumer.Pending > 0 || consumer.Idle < idle || consumer.Name == a.self {
			continue
		}
		// The script looks again: it may have read something since.
		n, err := a.prune(ctx, stream, group, consumer.Name)
		if err != nil {
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// RemoveConsumer removes a consumer of a group from our streams, from each on which it owns
// nothing.
func (a *Admin) RemoveConsumer(ctx context.Context, group, consumer string) error {
	for _, stream := range a.streams {
		if _, err := a.prune(ctx, stream, group, consumer); err != nil && !redis.IsReply(err) {
			return err
		}
	}
	return nil
}

func (a *Admin) prune(ctx context.Context, stream, group, consumer string) (int64, error) {
	n, err := pruneScript.Exec(ctx, a.conn, []string{stream}, []string{group, consumer}).AsInt64()
	if err != nil {
		return 0, fmt.Errorf("remove consumer %s of %s: %w", consumer, group, err)
	}
	return n, nil
}
