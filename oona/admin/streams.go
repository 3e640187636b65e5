package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// StreamView is one stream of the bus with who reads it.
type StreamView struct {
	Name    string      `json:"name"`
	Entries int64       `json:"entries"`
	LastID  string      `json:"last_id,omitempty"`
	Groups  []GroupView `json:"groups"`
}

// GroupView is one consumer group of a stream.
type GroupView struct {
	Name string `json:"name"`
	// Pending are the entries that it has read and not finished; Behind those that it has not
	// read, nil when the server does not count.
	Pending   int64          `json:"pending"`
	Behind    *int64         `json:"behind"`
	Delivered string         `json:"last_delivered_id"`
	Consumers []ConsumerView `json:"consumers"`
}

// ConsumerView is one reader of a group.
type ConsumerView struct {
	Name    string        `json:"name"`
	Pending int64         `json:"pending"`
	Idle    time.Duration `json:"idle_ns"` // since it last asked for anything; 0 on a server that does not tell
}

// Silent is how long none of a group's consumers has asked for anything; false when it has none.
func (g *GroupView) Silent() (quiet time.Duration, known bool) {
	for i, consumer := range g.Consumers {
		if i == 0 || consumer.Idle < quiet {
			quiet = consumer.Idle
		}
	}
	return quiet, len(g.Consumers) > 0
}

// Streams looks at our streams. It only reads, and leaves out those that are not there.
func (a *Admin) Streams(ctx context.Context) ([]StreamView, error) {
	views := []StreamView{}
	for _, stream := range a.streams {
		view, err := a.view(ctx, stream)
		if err != nil {
			return nil, err
		}
		if view != nil {
			views = append(views, *view)
		}
	}
	return views, nil
}

// Place is that of an entry in its stream. The zero one is before all.
type Place struct{ MS, Seq uint64 }

// Reach is the last entry that was written to a stream, and the last that a group has read: the
// place before all for a group or a stream that is not there.
func (a *Admin) Reach(ctx context.Context, group, stream string) (written, read Place, err error) {
	info, groups, err := a.conn.Inspect(ctx, stream)
	if err == nil {
		written, err = placeOf(info.LastID)
	}
	for _, g := range groups {
		if g.Name == group && err == nil {
			read, err = placeOf(g.LastDelivered)
		}
	}
	if err != nil {
		return Place{}, Place{}, fmt.Errorf("look how far %s has read %s: %w", group, stream, err)
	}
	return written, read, nil
}

func placeOf(id string) (Place, error) {
	if id == "" {
		return Place{}, nil
	}
	parsed, err := entry.ParseID(id)
	return Place(parsed), err
}

func (a *Admin) view(ctx context.Context, stream string) (*StreamView, error) {
	exists, err := a.conn.Do(ctx, a.conn.B().Exists().Key(stream).Build()).AsBool()
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", stream, err)
	}
	if !exists {
		return nil, nil
	}
	info, err := a.conn.Stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	groups, err := a.conn.Groups(ctx, stream)
	if err != nil {
		return nil, err
	}
	view := &StreamView{Name: stream, Entries: info.Length, LastID: info.LastID, Groups: []GroupView{}}
	for _, g := range groups {
		consumers, err := a.conn.Consumers(ctx, stream, g.Name)
		if err != nil {
			return nil, err
		}
		group := GroupView{Name: g.Name, Pending: g.Pending, Delivered: g.LastDelivered, Consumers: []ConsumerView{}}
		switch {
		case g.LastDelivered == info.LastID:
			group.Behind = new(int64)
		case g.HasLag:
			group.Behind = new(g.Lag)
		}
		for _, c := range consumers {
			group.Consumers = append(group.Consumers, ConsumerView{c.Name, c.Pending, max(c.Idle, 0)})
		}
		view.Groups = append(view.Groups, group)
	}
	return view, nil
}
