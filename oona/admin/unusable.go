package admin

import (
	"context"
	"fmt"
	"math"

	"github.com/esper-lite/weatherlight/oona/internal/entry"
)

// Unusable finds those of our streams that take no entry any more, and those of which the
// group would never be given one, each with what mends it. Whoever may write to a stream can
// bring about the first. It asks within DialTimeout; a stream that cannot be looked at is no
// finding.
func (a *Admin) Unusable(ctx context.Context, group string) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, a.conn.Timeout)
	defer cancel()
	found := make(map[string]error)
	for _, stream := range a.streams {
		if fault := a.unusable(ctx, stream, group); fault != nil {
			found[stream] = fault
		}
	}
	return found
}

func (a *Admin) unusable(ctx context.Context, stream, group string) error {
	// The groups first: what comes meanwhile is read after it has come.
	groups, err := a.conn.Groups(ctx, stream)
	if err != nil {
		return nil // others tell of a bus that does not answer, and of rights
	}
	info, err := a.conn.Stream(ctx, stream)
	if err != nil {
		return nil
	}
	last, err := entry.ParseID(info.LastID)
	if err != nil {
		return nil // the server does not tell
	}
	if last == (entry.ID{MS: math.MaxUint64, Seq: math.MaxUint64}) {
		return fmt.Errorf("its last id is the largest there is, so nothing can be added: RENAME %s", stream)
	}
	for _, g := range groups {
		if at, err := entry.ParseID(g.LastDelivered); g.Name == group && err == nil && at != last && at.Min(last) == last {
			return fmt.Errorf("the group stands at %s, and what is added after %s is never read: XGROUP SETID %s %s ID, "+
				"with the id of the last entry that it had read", g.LastDelivered, info.LastID, stream, group)
		}
	}
	return nil
}
