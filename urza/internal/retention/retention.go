// Package retention decides which artifacts nobody needs any more, and removes them. A
// Pruner looks at what the catalogue and the store hold: those of variants that made room,
// were replaced or found none go after a day, and others that no row refers to after the
// retention. Package urza calls it at the end of a scrub, and when it is told to prune.
package retention

import (
	"context"
	"time"

	"github.com/esper-lite/weatherlight/urza/internal/artifact"
	"github.com/esper-lite/weatherlight/urza/internal/catalogue"
)

// evictedKept is how long the file of a variant stays that made room or was replaced: a
// trainer may have been told of it.
const evictedKept = 24 * time.Hour

// Pruner removes artifacts of the store.
type Pruner struct {
	Catalogue *catalogue.Catalogue
	Store     *artifact.Store
	Retention time.Duration // of artifacts that no row refers to; 0 keeps them
}

// Prune removes what has had its time as of now, and says how much.
func (p Pruner) Prune(ctx context.Context, now time.Time) (int, error) {
	evicted, err := p.Catalogue.EvictedBefore(ctx, now.Add(-evictedKept))
	if err != nil {
		return 0, err
	}
	pruned, err := p.remove(ctx, evicted)
	if err != nil || p.Retention <= 0 {
		return pruned, err
	}
	orphans, err := p.orphans(ctx)
	if err != nil {
		return pruned, err
	}
	since, err := p.Catalogue.Unreferenced(ctx)
	if err != nil {
		return pruned, err
	}
	plan := planFor(orphans, since, now, p.Retention)
	if err := p.Catalogue.NoteUnreferenced(ctx, plan.begin, plan.forget, now); err != nil {
		return pruned, err
	}
	removed, err := p.remove(ctx, plan.remove)
	return pruned + removed, err
}

// plan is what becomes of orphans.
type plan struct {
	begin  []string // their time begins now
	forget []string // were noted, and are none any more
	remove []string // their time is over
}

// planFor is the plan for the orphans that there are, and since when they were noted.
func planFor(orphans []string, since map[string]time.Time, now time.Time, retention time.Duration) (p plan) {
	found := make(map[string]bool, len(orphans))
	for _, ref := range orphans {
		found[ref] = true
		seen, noted := since[ref]
		if !noted || seen.After(now) { // or the clock was wrong
			p.begin = append(p.begin, ref)
		}
		if noted && now.Sub(seen) >= retention {
			p.remove = append(p.remove, ref)
		}
	}
	for ref := range since {
		if !found[ref] {
			p.forget = append(p.forget, ref)
		}
	}
	return p
}

// orphans are the stored artifacts that no row, readable or not, refers to. The
// store is listed first: what is saved after that is in neither list.
func (p Pruner) orphans(ctx context.Context) (orphans []string, err error) {
	var stored []string
	if err := p.Store.List(ctx, func(ref string) { stored = append(stored, ref) }); err != nil {
		return nil, err
	}
	referenced := map[string]bool{}
	note := func(r catalogue.Row) {
		if ref, err := artifact.Absolute(r.Path); err == nil {
			referenced[ref] = true
		}
	}
	if err := p.Catalogue.Each(ctx, note); err != nil {
		return nil, err
	}
	if err := p.Catalogue.EachVariant(ctx, note); err != nil {
		return nil, err
	}
	for _, ref := range stored {
		if !referenced[ref] {
			orphans = append(orphans, ref)
		}
	}
	return orphans, nil
}

// remove looks once more, where no save can commit: a save that wrote the artifact again
// meanwhile finds it gone and writes it once more.
func (p Pruner) remove(ctx context.Context, refs []string) (pruned int, err error) {
	for _, ref := range refs {
		removed, err := p.Catalogue.Remove(ctx, ref, func(ctx context.Context) error { return p.Store.Remove(ctx, ref) })
		if err != nil {
			return pruned, err
		}
		if removed {
			pruned++
		}
	}
	return pruned, nil
}
