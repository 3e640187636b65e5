package admin

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/rueidis"
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
		n, err := pruneScript.Exec(ctx, a.conn, []string{stream}, []string{group, consumer.Name}).AsInt64()
		if err != nil {
			return removed, fmt.Errorf("remove consumer %s of %s: %w", consumer.Name, group, err)
		}
		removed += n
	}
	return removed, nil
}
